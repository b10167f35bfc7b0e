"""Sources of examples: embedded digits, idx files, image folders, prepared data sets."""
