"""Norms and histograms of the layers, at the steps of the log; they change no bit of a run."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lenet_alexnet import load
from lenet_alexnet.errors import UsageError
from lenet_alexnet.sweep.vmap import train_lanes
from lenet_alexnet.training import builders, loop
from lenet_alexnet.training import step as steps
from lenet_alexnet.training.compiled import compile_run
from lenet_alexnet.training.experiment import build
from lenet_alexnet.training.observed import BINS, Observe, entries
from tests.helpers.runs import comparable, rows
from tests.helpers.tiny_configs import (
    make_photo_config,
    make_tiny_1998_config,
    make_tiny_config,
)

ADDED = ("gradient_norm", "update_norm", "histograms")


def observed(config, **wanted):
    with config.unlocked():
        config.log = {"norms": True, "histograms": True, **wanted}
    return config


def without(log):
    return [{key: value for key, value in row.items() if key not in ADDED} for row in log]


def after_two_dispatches(config):
    """The parameters of a run after two dispatches, and what the second one noted."""
    e = build(config)
    compiled, state = compile_run(config, e)
    step = 0
    for count in (2, 2):
        state, sums = compiled.prepare(state, step, count)()
        step += count
    return jax.device_get(state.params), jax.device_get(sums.layers)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of two equal runs, of which the second logs its layers."""
    plain, logged = (tmp_path_factory.mktemp(name) for name in ("plain", "logged"))
    loop.train_and_evaluate(make_tiny_config(), plain)
    loop.train_and_evaluate(observed(make_tiny_config()), logged)
    return plain, logged


def test_the_run_is_the_same_to_the_bit(runs):
    plain, logged = runs
    assert without(comparable(logged)) == comparable(plain)
    one, other = (load(folder).variables for folder in runs)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_each_training_line_has_every_layer(runs):
    log = [row for row in rows(runs[1]) if row["split"] == "train"]
    assert len(log) == 6
    layers = {"C1", "C3", "C5", "F6", "output"}
    sizes = {"C1": 156, "C3": 2416, "C5": 48120, "F6": 10164, "output": 850}
    for row in log:
        for kind in ("gradient_norm", "update_norm"):
            assert row[kind].keys() == layers
            assert all(norm > 0 for norm in row[kind].values())
        for kind in ("weights", "gradients", "updates"):
            counts = {name: sum(h["counts"]) for name, h in row["histograms"][kind].items()}
            assert counts == sizes
    assert not any(key in row for row in rows(runs[1]) if row["split"] == "test" for key in ADDED)


def test_the_numbers_are_those_of_the_step_at_the_line():
    """A network y = a x on two steps of plain gradient descent, by hand."""
    tx = optax.sgd(0.5)

    def update(state, x, labels, key):
        grads = {"a": {"kernel": state.params["a"]["kernel"] * jnp.array([3.0, 4.0])}}
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        zero = steps.Seen(jnp.zeros(()), *[jnp.zeros((), jnp.int32)] * 3)
        return steps.Moved(params, opt_state, {}, zero, grads)

    observe = Observe(every=2, total=9, norms=True, histograms=True)
    step = steps.TrainStep(
        update=update, preprocess=lambda images, *_: images.astype(jnp.float32), observe=observe
    )
    params = {"a": {"kernel": jnp.ones(2)}}
    state = steps.TrainState(
        step=jnp.zeros((), jnp.int32), params=params, batch_stats={}, average=None,
        opt_state=tx.init(params), metrics=steps.Metrics.zero(),
    )  # fmt: skip
    images, labels = jnp.zeros((1, 1, 1, 1), jnp.uint8), jnp.zeros(1, jnp.int32)
    order, key = jnp.zeros((3, 1), jnp.int32), jax.random.key(0)
    run = jax.jit(functools.partial(steps.resident_steps, step))
    # Weights 1 1, then -0.5 -1 after step 1, 0.25 1 after step 2; step 3 is not at a line.
    _, sums = run(state, images, labels, order, jnp.int32(3), jnp.bool_(True), key)
    found = entries(jax.device_get(sums.layers))
    assert found["gradient_norm"]["a"] == pytest.approx(np.hypot(1.5, 4.0))
    assert found["update_norm"]["a"] == pytest.approx(np.hypot(0.75, 2.0))
    histogram = found["histograms"]["weights"]["a"]
    assert (histogram["low"], histogram["high"]) == (0.25, 1.0)
    assert histogram["counts"] == [1, *[0] * (BINS - 2), 1]


def test_histogram_of_equal_numbers():
    observe = Observe(every=1, total=1, norms=False, histograms=True)

    class State:
        trained: ClassVar = {"a": jnp.full(5, 2.0)}

    found = entries(jax.device_get(observe(State, State, {"a": jnp.zeros(5)})))
    assert found.keys() == {"histograms"}
    assert found["histograms"]["weights"]["a"]["counts"] == [5, *[0] * (BINS - 1)]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"train.accumulate": 2}, id="accumulated"),
        pytest.param({"train.freeze": ("C1",)}, id="frozen"),
        pytest.param(None, id="1998"),
    ],
)
@pytest.mark.slow
def test_other_steps_end_in_the_same_bits(changes):
    def make():
        if changes is None:
            return make_tiny_1998_config()
        config = make_tiny_config()
        with config.unlocked():
            config.train.update({key.split(".")[1]: value for key, value in changes.items()})
        return config

    plain, nothing = after_two_dispatches(make())
    logged, layers = after_two_dispatches(observed(make()))
    assert nothing is None
    jax.tree.map(np.testing.assert_array_equal, plain, logged)
    assert layers.keys() == set(ADDED)
    assert ("C1" in layers["gradient_norm"]) == (changes != {"train.freeze": ("C1",)})


@pytest.mark.slow
def test_alexnet_ends_in_the_same_bits(colour_photos):
    plain, _ = after_two_dispatches(make_photo_config(colour_photos))
    logged, _ = after_two_dispatches(observed(make_photo_config(colour_photos)))
    jax.tree.map(np.testing.assert_array_equal, plain, logged)


@pytest.mark.slow
def test_lanes_log_as_a_run_alone(runs, tmp_path):
    second = observed(make_tiny_config())
    with second.unlocked():
        second.seed = 1
    folders = [tmp_path / "a", tmp_path / "b"]
    train_lanes([observed(make_tiny_config()), second], folders, at_once=False)
    lane, alone = (
        [row for row in rows(folder) if row["split"] == "train"] for folder in (folders[0], runs[1])
    )
    for one, other in zip(lane, alone, strict=True):
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)
        assert one["histograms"]["weights"].keys() == other["histograms"]["weights"].keys()
    assert rows(folders[1])[0]["gradient_norm"] != rows(folders[0])[0]["gradient_norm"]


def test_layers_with_several_gradients_in_a_step_are_refused():
    config = observed(make_tiny_config())
    with config.unlocked():
        config.parallel.update_each_turn = True
    with pytest.raises(UsageError, match=r"with parallel.update_each_turn"):
        builders.build_observe(config, every=1, total=2)
