"""When this process began."""

import os
import time
from pathlib import Path

START = 19  # the field of /proc/PID/stat, after the name, with the start in ticks since boot


def process_began() -> float:
    """`time.monotonic()` when this process began, to 0.01 s; now where /proc does not tell it."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[START]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    return time.monotonic() - max(age, 0.0)
