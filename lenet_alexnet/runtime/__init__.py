"""The lowest layer: JAX's start, processes, signals, streams, files, the console."""
