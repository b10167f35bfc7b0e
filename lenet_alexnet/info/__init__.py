"""What a network and its training step cost, counted and compiled but not measured."""
