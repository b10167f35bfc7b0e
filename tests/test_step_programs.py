"""The programs of full and of shorter dispatches; products of float32 matrices."""

import re

import jax
import jax.numpy as jnp
import pytest

from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runtime import target
from lenet_alexnet.sweep.lane_functions import LaneFunctions, stack_lanes
from lenet_alexnet.training import loop
from lenet_alexnet.training.experiment import build
from lenet_alexnet.training.matmul_precision import float32_products, matmul_precision
from lenet_alexnet.training.schedule import Schedule
from lenet_alexnet.training.step_programs import StepPrograms
from tests.helpers.tiny_configs import make_tiny_config


class Lowered:
    def __init__(self, full):
        self.full = full

    def compile(self):
        return f"full {self.full}"


def schedule(total=100, log=20, save=0, per_dispatch=10):
    return Schedule(
        total=total, log=log, evaluate=0, save=save, refresh=0, per_dispatch=per_dispatch
    )


@pytest.mark.parametrize(
    ("schedule", "on_gpu"),
    [
        (schedule(), {True}),
        (schedule(total=105), {True, False}),
        (schedule(save=25), {True, False}),
        (schedule(log=5), {False}),
        (schedule(total=7, log=20), {False}),
        (schedule(per_dispatch=1, total=7), {True}),
    ],
)
def test_only_the_programs_that_a_schedule_needs_are_compiled(schedule, on_gpu):
    dispatches, step = set(), 0
    while step < schedule.total:
        stop = schedule.next_stop(step)
        dispatches.add(stop - step == schedule.per_dispatch)
        step = stop
    assert schedule.kinds() == dispatches == on_gpu
    for platform, expected in (("cpu", {False}), ("gpu", on_gpu)):
        compiled = []
        with target.tracing_for(platform):
            programs = StepPrograms(
                lambda full, c=compiled: c.append(full) or Lowered(full), schedule
            )
        assert set(compiled) == expected
        assert len(compiled) == len(expected)
        assert programs.program(False) == "full False"  # Compiled now, if it was not before.


def test_a_run_with_two_programs_trains_all_its_steps(tmp_path):
    config = make_tiny_config()
    config.train.update(duration="9 steps", log_every="3 steps", steps_per_dispatch=2)
    config.eval.every = config.checkpoint.every = "0 steps"
    with target.tracing_for("gpu"):
        summary = loop.train_and_evaluate(config, tmp_path)
    assert (summary["status"], summary["step"]) == ("completed", 9)
    assert read_json(tmp_path / "run.json")["float32_products"] == "TF32"


def lowered_lanes(*, products):
    """The text of a step of three runs side by side, as for a GPU."""
    configs = [make_tiny_config() for _ in range(3)]
    for seed, config in enumerate(configs):
        config.seed = seed
    with target.tracing_for("gpu"):
        e = build(configs[0], devices=1)
        functions = LaneFunctions(configs[0], e, at_once=products)
        numbers = stack_lanes(configs)
        state = jax.eval_shape(jax.vmap(functions.init, (0, None)), numbers, e.blank)
        order = jax.ShapeDtypeStruct((3, 7, 20), jnp.int32)
        shared = (*e.train_data.arrays, None, jnp.bool_(False))
        train = jax.vmap(functions.train, (0, None))
        return jax.jit(train).lower((state, numbers, order), shared).as_text()


def test_runs_side_by_side_on_a_gpu_have_no_convolution_with_a_group_for_each():
    groups = re.compile(r"feature_group_count = 3|batch_group_count = 3")
    assert groups.search(lowered_lanes(products=False))
    assert not groups.search(lowered_lanes(products=True))


@pytest.mark.parametrize(("value", "expected"), [("default", ""), ("highest", "HIGHEST")])
def test_a_configs_precision_of_products(value, expected):
    config = make_tiny_config()
    with config.unlocked():
        config.train.matmul_precision = value
    with matmul_precision(config):
        text = jax.jit(jnp.dot).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()
        assert ("HIGHEST" in text) == bool(expected)
        assert float32_products() == "float32"  # On a CPU, always.
        with target.tracing_for("gpu"):
            assert float32_products() == ("float32" if expected else "TF32")


@pytest.mark.slow
def test_a_run_records_and_uses_its_precision(tmp_path):
    config = make_tiny_config()
    with config.unlocked():
        config.train.matmul_precision = "highest"
        config.train.duration = "1 steps"
    loop.train_and_evaluate(config, tmp_path)
    begun = read_json(tmp_path / "run.json")
    assert begun["switches"]["jax_default_matmul_precision"] == "highest"
    assert begun["float32_products"] == "float32"
