"""Helpers of several test modules; no test module imports another."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
