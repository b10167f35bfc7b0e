"""What runs below everything else: JAX's start, processes, signals, streams, files, the console."""
