"""A local page to draw a digit on, with the network's maps and answer."""
