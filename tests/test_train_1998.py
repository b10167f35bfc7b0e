"""The 1998 recipe through the training loop, alone and with seeds side by side."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.errors import Interrupted, UsageError
from lenet_alexnet.losses import penalty_eq9
from lenet_alexnet.optimizers.sdlm import curvature
from lenet_alexnet.sweep.vmap import train_seeds
from lenet_alexnet.training import loop
from lenet_alexnet.training.experiment import build
from lenet_alexnet.training.state import init_state
from lenet_alexnet.training.step import TrainStep, refresh_curvature, resident_steps
from lenet_alexnet.training.update import BatchUpdate
from tests.helpers.runs import comparable, stop_after
from tests.helpers.tiny_configs import make_tiny_1998_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = make_tiny_1998_config()
    workdir = tmp_path_factory.mktemp("run")
    return config, workdir, loop.train_and_evaluate(config, workdir)


@pytest.mark.slow
def test_updates_are_the_papers_one_pattern_at_a_time():
    """Three steps against eq. 18 written out: w <- w - eta / (mu + h) dE/dw, E half of eq. 9."""
    e = build(make_tiny_1998_config())
    images, labels = jnp.asarray(e.train_data.images), jnp.asarray(e.train_data.labels)
    key = jax.random.key(3)
    start = jax.jit(lambda: init_state(e.model, e.optimizer.tx, e.preprocess, key, images[:1]))()
    state = jax.jit(partial(refresh_curvature, e.model, e.preprocess))(
        start, images, jnp.arange(50), key
    )
    update = BatchUpdate(model=e.model, tx=e.optimizer.tx, loss=e.train_loss)
    step = TrainStep(update=update, preprocess=e.preprocess)
    order = np.array([[7], [0], [7], [5]], np.int32)
    new, sums = jax.jit(partial(resident_steps, step))(
        state, images, labels, order, np.int32(3), np.True_, key
    )

    x = e.preprocess(images, None)
    h = jax.jit(lambda p: curvature(e.model, p, x[:50]))(start.params)
    params, losses = start.params, []

    @jax.jit
    @jax.value_and_grad
    def energy(p, x, label):
        return penalty_eq9(-e.model.apply({"params": p}, x), label, 10.0)[0] / 2

    for i in (7, 0, 7):
        value, g = energy(params, x[i][None], labels[i][None])
        params = jax.tree.map(lambda w, c, d: w - 0.0005 / (0.02 + c / 2) * d, params, h, g)
        losses.append(2 * float(value))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.params, params
    )
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), params, start.params)
    assert min(jax.tree.leaves(moved)) > 1e-6  # Every leaf was trained.
    np.testing.assert_allclose(sums.loss, sum(losses), rtol=1e-5)


def test_it_learns_and_reports_its_steps(finished):
    _, workdir, summary = finished
    assert (summary["status"], summary["params"], summary["step"]) == ("completed", 60_000, 400)
    assert summary["eval"]["test"]["top1_error"] < 0.5
    reports = [json.loads(line) for line in (workdir / "step_sizes.jsonl").read_text().splitlines()]
    assert [report["step"] for report in reports] == [0, 200]  # Before each pass.
    assert 0 < reports[0]["all"]["min"] < reports[0]["all"]["max"] <= 0.025 + 1e-6
    assert {"C1", "S2", "C3", "S4", "C5", "F6", "all"} < set(reports[0])


@pytest.mark.slow
def test_it_resumes_to_the_same_bits_within_a_pass(finished, tmp_path):
    config, undisturbed, summary = finished
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path, stop_requested=stop_after(2))
    assert loop.train_and_evaluate(config, tmp_path)["eval"] == summary["eval"]
    assert comparable(tmp_path) == comparable(undisturbed)


@pytest.mark.slow
def test_seeds_side_by_side_are_the_runs_alone(finished, tmp_path):
    config, alone, summary = finished
    together = train_seeds(config, [0, 1], tmp_path)
    assert [s["seed"] for s in together] == [0, 1]
    assert together[0]["config_hash"] == summary["config_hash"]
    ours, theirs = comparable(tmp_path / "seed_0"), comparable(alone)
    assert [(r["step"], r["split"]) for r in ours] == [(r["step"], r["split"]) for r in theirs]
    # The same program in another layout: rounding differs, and the difference grows.
    np.testing.assert_allclose(ours[0]["loss"], theirs[0]["loss"], rtol=1e-3)
    assert together[1]["eval"] != together[0]["eval"]


def test_sdlm_is_for_the_networks_of_1998(tiny_config):
    with tiny_config.unlocked():
        tiny_config.optimizer = make_tiny_1998_config().optimizer
    with pytest.raises(UsageError, match="1998"):
        build(tiny_config)
    with tiny_config.unlocked():
        del tiny_config.optimizer.curvature
    with pytest.raises(UsageError, match=r"needs optimizer\.curvature"):
        build(tiny_config)
