"""Preprocessing of digits and of photos inside the jitted step, and the photos' statistics."""
