"""What a measurement is told, without what it takes to make one."""

import time
from dataclasses import dataclass

# Of AlexNet several steps: a call of one pays for fresh memory each time, which training does not.
SECONDS = {"lenet5": 0.5, "alexnet": 3.5, "input": 8.0, "sweep": 0.5}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a measurement is taken, and of what; the flags of `bench` have these names."""

    repeats: int
    seconds: float | None
    clock: str
    peer: str | None
    variant: str
    runs: int
    image_size: int
    images: int
    data_dir: str
    name: str
