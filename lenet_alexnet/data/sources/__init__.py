"""Where examples come from: embedded digits, idx files, image folders, prepared data sets."""
