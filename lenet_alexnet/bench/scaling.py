"""AlexNet's training step on 1, 2, 4 ... devices, each with the same share of the batch."""

from collections.abc import Sequence
from typing import Any

import jax

from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.bench.steps import Trainer, alexnet_config
from lenet_alexnet.errors import UsageError
from lenet_alexnet.info import step_cost

SIMULATE = "XLA_FLAGS=--xla_force_host_platform_device_count=8 simulates 8 on a CPU"


def subjects(
    batch: int, precision: str, mode: str, **of_photos: Any
) -> tuple[list[Trainer], list[Subject]]:
    """The step of one device (`batch` images), then of more, in a parallel mode.

    Raises:
      UsageError: there is one device, or the mode does not fit the network or the devices.
    """
    if jax.device_count() == 1:
        raise UsageError(f"bench scaling needs several devices, here is one: {SIMULATE}")
    trainers = []
    for devices in counts(jax.device_count()):
        config = alexnet_config(batch * devices, precision, **of_photos)
        with config.unlocked():
            config.parallel.mode = mode if devices > 1 else "dp"
        trainers.append(Trainer(config, devices))
    return trainers, [trainer.many(_name(trainer)) for trainer in trainers]


def counts(most: int) -> list[int]:
    """1, 2, 4 ... and the number of all devices."""
    return [2**n for n in range((most - 1).bit_length())] + [most]


def efficiencies(
    trainers: Sequence[Trainer], ratios: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """For each number of devices above one: the share of as many times the rate of one device,
    and what each device sends in a step, as compiled."""
    found = []
    for trainer, ratio in zip(trainers[1:], ratios, strict=True):
        devices = trainer.e.layout.mesh.size
        state, key = trainer.start()
        arguments = trainer.dispatch(0, trainer.e.schedule.per_dispatch)
        program = trainer.run.steps.lower(state, *arguments, key).compile()
        cost = step_cost.of_program(program, trainer.run.state, devices)
        found.append(
            {
                "devices": devices,
                "mode": trainer.config.parallel.mode,
                "batch": trainer.batch,
                "efficiency": ratio["median"] / devices,
                **{name: cost[name] for name in ("exchanged", "sent_bytes", "peak_bytes")},
            }
        )
    return found


def _name(trainer: Trainer) -> str:
    devices = trainer.e.layout.mesh.size
    return f"{devices} devices" if devices > 1 else "1 device"
