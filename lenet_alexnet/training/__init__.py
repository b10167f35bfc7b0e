"""Training: the experiment of a config, the step, the loop, and the layout on many devices."""
