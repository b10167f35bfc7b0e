"""The cost of a network and of its training step, counted and compiled but not measured."""
