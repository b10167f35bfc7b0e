"""Training: what a config stands for, the step, the loop, and who holds what on many devices."""
