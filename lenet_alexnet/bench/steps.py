"""The training steps of `train` on resident data: one per call, and many per call."""

import contextlib
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.data import Dataset
from lenet_alexnet.errors import Diverged
from lenet_alexnet.info import network
from lenet_alexnet.info.step_cost import PASSES
from lenet_alexnet.models import defaults
from lenet_alexnet.training import conv_form
from lenet_alexnet.training.batches import create_feed
from lenet_alexnet.training.builders import load
from lenet_alexnet.training.compiled import JittedRun
from lenet_alexnet.training.experiment import build
from lenet_alexnet.training.state import NEVER, Metrics, Noted, TrainState
from lenet_alexnet.training.step import TrainStep
from lenet_alexnet.training.step_programs import is_full
from lenet_alexnet.training.update import BatchUpdate

CLASSES = 1000
CIFAR_SIZE = 32
# PyTorch has it, too; the small rate trains on random labels without diverging.
OPTIMIZER = {
    "name": "sgd",
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0.0005,
    "schedule": {"name": "constant"},
}


def lenet5_config(batch: int, precision: str = "float32") -> Any:
    """The network of configs/lenet5_mnist.py on the embedded digits."""
    config = configs.base()
    config.data.source = "embedded"
    config.model = {"name": "lenet5", "activation": "relu", "num_classes": 10}
    return _finish(config, batch, precision, per_dispatch=50)


def alexnet_config(
    batch: int,
    precision: str = "float32",
    *,
    variant: str,
    data_dir: str,
    name: str,
    size: int,
    stream: bool = False,
) -> Any:
    """AlexNet on prepared photos of `size` pixels; its input is 7/8 of it (224 of 256)."""
    config = configs.photos()
    crop = size * 7 // 8
    config.data.update(name=name, data_dir=data_dir, image_size=size, validation="", stream=stream)
    # Inputs of about unit variance: on 0..255, He's initial weights lead to NaN.
    config.data.photo.update(crop=crop, std=60.0)
    config.model = {
        "name": "alexnet",
        "variant": variant,
        "num_classes": CLASSES,
        "image_size": crop,
    }
    return _finish(config, batch, precision, per_dispatch=8)


def cifar_config(
    batch: int, precision: str = "float32", *, variant: str, data_dir: str, name: str
) -> Any:
    """A network of cuda-convnet on prepared images of 32 pixels; 13pct and 11pct on crops."""
    config = configs.photos()
    crop = defaults("cuda_convnet", variant)["image_size"]
    config.data.update(name=name, data_dir=data_dir, image_size=CIFAR_SIZE, validation="")
    cropped = crop < CIFAR_SIZE
    place = "random" if cropped else "centre"
    config.data.photo.update(crop=crop, place=place, flip=cropped, colour_noise=0.0)
    config.model = {"name": "cuda_convnet", "variant": variant, "num_classes": 10}
    return _finish(config, batch, precision, per_dispatch=50)


def _finish(config: Any, batch: int, precision: str, per_dispatch: int) -> Any:
    config.optimizer = OPTIMIZER
    config.data.test = ""
    config.train.update(
        batch_size=batch,
        precision=precision,
        duration="1000000 steps",
        steps_per_dispatch=per_dispatch,
        log_every=f"{100 // per_dispatch * per_dispatch} steps",  # It cuts no dispatch.
    )
    return config.lock()


def _read(config: Any, split: str) -> Dataset:
    """The data, with a class name for each output of the network (AlexNet's has two classes)."""
    data = load(config, split)
    names = tuple(map(str, range(config.model.get("num_classes", len(data.class_names)))))
    return data.with_class_names(names)


class Trainer:
    """A config's training step with its state and data, built as in `train`.

    Attributes:
      run: its jitted functions, on the given number of devices.
      step: one step alone, on one device.
    """

    def __init__(self, config: Any, devices: int = 1) -> None:
        form = conv_form.choose(config, {}, devices)
        self.config, self.e = config, build(config, devices=devices, read=_read, form=form)
        e, self.batch = self.e, config.train.batch_size
        self.feed = create_feed(e.train_data, e.order, e.schedule, e.layout)
        self.run = JittedRun(
            config,
            model=e.model,
            optimizer=e.optimizer,
            loss=e.train_loss,
            preprocess=e.preprocess,
            layout=e.layout,
            blank=e.blank,
            run_steps=self.feed.run_steps,
        )
        update = BatchUpdate(model=e.model, tx=e.optimizer.tx, loss=e.train_loss)
        self.step = TrainStep(update=update, preprocess=e.preprocess)

    @property
    def flops(self) -> int:
        """Of one training image: 3 passes x 2 x the multiply-adds of `info`."""
        model: Any = self.e.model
        return PASSES * 2 * network.describe(model, model.input_shape)["total_multiply_adds"]

    def start(self) -> tuple[TrainState, Any]:
        """A fresh state and the key of its steps."""
        return self.run.initialise(self.config.seed)

    def dispatch(self, step: int, count: int, running: Any = None) -> tuple[Any, ...]:
        """The arguments of `run.steps` between the state and the key, for `count` steps."""
        number = None if is_full(count, self.e.schedule.per_dispatch) else np.int32(count)
        scalars = self.e.layout.put((number, np.bool_(False)))
        return (*self.feed(step, count, running), *scalars)

    def single(self) -> tuple[Subject, float]:
        """One step per call; and the bytes per image that XLA says its operations touch."""
        state, key = self.start()
        images, labels, order = self.feed(0, self.e.schedule.per_dispatch)
        rows = itertools.cycle([jax.block_until_ready(row) for row in order])
        jitted: Any = jax.jit(self.step, donate_argnums=0)
        program = jitted.lower(state, images, labels, order[0], key).compile()

        def run(count: int) -> None:
            nonlocal state
            for _ in range(count):
                state = program(state, images, labels, next(rows), key)
            jax.block_until_ready(state)
            check_finite(state.metrics)

        cost = program.cost_analysis() or {}
        touched = float(cost.get("bytes accessed", 0.0)) / self.batch
        return Subject("one step a call", run, self.batch), touched

    def many(
        self,
        name: str = "many steps a call",
        write: Callable[[int, Noted], None] | None = None,
        *,
        whole: bool = False,
    ) -> Subject:
        """The loop of `train`: `steps_per_dispatch` steps per call.

        `write` gets the steps of the log and their sums. A unit is a step, or, if `whole`, a call:
        what is read ahead is read for whole ones.
        """
        state, key = self.start()
        done, log = 0, self.e.schedule.log
        unit = self.e.schedule.per_dispatch if whole else 1

        def run(count: int) -> None:
            nonlocal state, done
            sums, end = None, done + count * unit
            while done < end:
                n = min(end - done, self.e.schedule.per_dispatch)
                if write:
                    n = min(n, log - done % log)
                arguments, before = self.dispatch(done, n, sums and sums.loss), sums
                state, sums = self.run.steps(state, *arguments, key)
                jax.block_until_ready(before)  # One dispatch late, as in `train`.
                done += n
                if write and done % log == 0:
                    write(done, sums)
            jax.block_until_ready(state)
            check_finite(state.metrics)
            self.feed.settle()  # It begins and ends with the same dispatches ahead.

        return Subject(name, run, self.batch * unit)


def check_finite(metrics: Metrics) -> None:
    """Raises Diverged if a step of any lane was not finite: the speed of NaN differs."""
    if np.min(jax.device_get(metrics.first_bad_step)) != NEVER:
        raise Diverged("the loss became NaN or infinite: the rates mean nothing")


@contextlib.contextmanager
def random_photos(count: int, size: int) -> Iterator[tuple[str, str]]:
    """A data set of random photos, prepared as by `data prepare`: its data_dir and its name."""
    from PIL import Image

    from lenet_alexnet.data.prepare import photos

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="lenet_alexnet_bench_") as data_dir:
        source = Path(data_dir) / "source"
        for name in ("a", "b"):
            (source / "train" / name).mkdir(parents=True)
        for i in range(count):
            # Large spots: noise in every pixel is slow to store as JPEG, and unlike a photo.
            spots = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            photo = Image.fromarray(spots).resize((size, size), Image.Resampling.BILINEAR)
            photo.save(source / "train" / "ab"[i % 2] / f"{i}.jpg")
        with contextlib.redirect_stdout(sys.stderr):
            photos.prepare(
                "folder", source=str(source), data_dir=data_dir, name="bench", size=size, jobs=1
            )
        yield data_dir, "bench"
