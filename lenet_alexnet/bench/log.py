"""LeNet-5's training with TensorBoard's copy of the log, compared with the log alone."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.bench.steps import Trainer, lenet5_config
from lenet_alexnet.config import flatten
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.sinks.feed import Sinks
from lenet_alexnet.sinks.sink import About
from lenet_alexnet.training.evaluation import summarize
from lenet_alexnet.training.state import Noted


@contextlib.contextmanager
def subjects(batch: int, precision: str) -> Iterator[tuple[Trainer, list[Subject]]]:
    """Training with a line of metrics.jsonl every 100 steps; and with TensorBoard as a sink."""
    trainer = Trainer(lenet5_config(batch, precision))
    with contextlib.ExitStack() as stack:
        ours = []
        for name, sinks in (("metrics.jsonl", ()), ("and TensorBoard", ("tensorboard",))):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            about = About(folder=folder, config=flatten(trainer.config))
            follower = stack.enter_context(Sinks(sinks, about))
            log = MetricsLog(folder / "metrics.jsonl", followers=[follower])
            ours.append(trainer.many(name, _writer(trainer, stack.enter_context(log))))
        yield trainer, ours


def _writer(trainer: Trainer, log: MetricsLog) -> Callable[[int, Noted], None]:
    """Writes the line of a step, as `train` does."""
    start = time.monotonic()

    def write(step: int, sums: Noted) -> None:
        speed = step * trainer.batch / (time.monotonic() - start)
        place = {"step": step, "epoch": step / trainer.e.steps_per_epoch, "split": "train"}
        numbers = {"images_per_second": speed, "learning_rate": trainer.e.rate(step)}
        log.write({**place, **summarize(jax.device_get(sums)), **numbers, "time": time.time()})

    return write
