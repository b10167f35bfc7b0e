"""What the timing of a program finds."""

from typing import Any, NamedTuple

TASK, FOUND = "task.json", "found.json"  # the files by which a process gets and gives it


class Timings(NamedTuple):
    """Seconds.

    Attributes:
      start_up: until the program is compiled.
      compile: to compile it, if JAX's cache has what it keeps, and at most.
      steps: of a step, in each timed chunk.
      data_wait: the share of the steps in which the devices waited for data.
      refresh: of one estimate of the curvature.
      example: of an evaluated example.
      save: what a save adds to the run; the first of a process also.
      last: the last save, which is waited for, and the end of the process.
    """

    start_up: float
    compile: tuple[float, float]
    steps: list[float]
    data_wait: float
    refresh: float
    example: float
    save: float
    first_save: float
    last: float


class Probe(NamedTuple):
    """What is known of a program after it was timed.

    Attributes:
      timings: see `Timings`.
      total, log, evaluate, save, refresh: of the schedule, in steps.
      curve, everything: examples evaluated during training, and at its end.
      batch_size: of a run.
      runs: how many train side by side.
      devices: how many the program uses, and their kind.
      params: of one run.
      memory: see `step_cost.of_program`.
      kept: checkpoints that stay, for each run.
      checkpoint_bytes, line_bytes, other_bytes: of a checkpoint, of a line of the log, of the rest.
    """

    timings: Timings
    total: int
    log: int
    evaluate: int
    save: int
    refresh: int
    curve: int
    everything: int
    batch_size: int
    runs: int
    devices: int
    device: str
    params: int
    memory: dict[str, Any]
    kept: int
    checkpoint_bytes: int
    line_bytes: float
    other_bytes: int
