"""The options of a measurement, without imports of what it measures."""

import time
from dataclasses import dataclass

# AlexNet: several steps, as single calls allocate memory each time and training does not.
SECONDS = {
    "lenet5": 0.5,
    "alexnet": 3.5,
    "cifar": 2.0,
    "input": 8.0,
    "scaling": 8.0,
    "sweep": 0.5,
    "log": 8.0,
}
VARIANTS = {"alexnet": "paper", "cifar": "19pct", "input": "paper", "scaling": "paper"}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured, and how; the flags of `bench` have these names."""

    repeats: int
    seconds: float | None
    clock: str
    peer: str | None
    variant: str
    runs: int
    mode: str
    image_size: int
    images: int
    data_dir: str
    name: str
