"""Weights of others as runs, and runs as files for others."""
