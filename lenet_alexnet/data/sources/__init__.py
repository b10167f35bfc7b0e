"""Where examples come from: embedded digits, idx files, image folders, data sets prepared by tfds."""
