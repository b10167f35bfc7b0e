"""The report of a run: one HTML page and its figures, most of them modelled on the papers'."""
