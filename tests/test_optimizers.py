import functools

import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.errors import UsageError
from lenet_alexnet.optimizers import create_optimizer
from lenet_alexnet.optimizers.schedules import create_schedule

in_steps = functools.partial(to_steps, batch_size=50, examples=1000)  # 20 steps an epoch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 steps", 7),
        ("1 step", 1),
        ("3 epochs", 60),
        ("0.5 epochs", 10),
        ("2500 examples", 50),
        ("1e3 steps", 1000),
        ("0 steps", 0),
        ("1 examples", 1),
    ],
)
def test_durations(text, expected):
    assert in_steps(text) == expected


@pytest.mark.parametrize("text", ["3", "epochs", "-1 epochs", "3 parsecs", "1.2.3 steps", ""])
def test_bad_durations(text):
    with pytest.raises(UsageError, match="is no duration"):
        in_steps(text)


def schedule(**options):
    rate = create_schedule(learning_rate=2.0, total_steps=100, to_steps=in_steps, **options)
    return lambda step: float(rate(jnp.asarray(step)))


def test_constant():
    assert schedule(name="constant")(0) == schedule(name="constant")(99) == 2.0


def test_steps_drop_at_their_boundaries():
    rate = schedule(name="steps", boundaries=("1 epochs", "50 steps"), factor=0.1)
    found = [rate(step) for step in (0, 19, 20, 49, 50, 99)]
    np.testing.assert_allclose(found, [2, 2, 0.2, 0.2, 0.02, 0.02], rtol=1e-5)


def test_piecewise_takes_its_values():
    rate = schedule(name="piecewise", boundaries=("20 steps", "50 steps"), values=(1.0, 0.4, 0.02))
    found = [rate(step) for step in (0, 19, 20, 49, 50, 99)]
    np.testing.assert_allclose(found, [2, 2, 0.8, 0.8, 0.04, 0.04], rtol=1e-5)
    with pytest.raises(UsageError, match="need 3"):
        schedule(name="piecewise", boundaries=("20 steps", "50 steps"), values=(1.0, 0.4))


def test_warmup_rises_evenly_and_cosine_ends_at_its_share():
    rate = schedule(name="cosine", warmup="1 epochs", final=0.1)
    rises = np.diff([rate(step) for step in range(21)])
    np.testing.assert_allclose(rises, rises[0], rtol=1e-3)
    assert rate(20) == pytest.approx(2.0)
    assert rate(60) == pytest.approx(1.1)  # Half-way down.
    assert rate(100) == pytest.approx(0.2)


def test_linear():
    rate = schedule(name="linear")
    np.testing.assert_allclose([rate(s) for s in (0, 50, 100)], [2, 1, 0], atol=1e-6)


def optimizer(**options):
    schedule = {"name": "constant"}
    return create_optimizer(
        learning_rate=0.1, schedule=schedule, total_steps=10, to_steps=in_steps, **options
    ).tx


def run(tx, steps=2):
    params = {"kernel": jnp.full((1, 2), 3.0), "bias": jnp.full(2, 3.0)}
    state = tx.init(params)
    for _ in range(steps):
        gradients = {"kernel": jnp.full((1, 2), 0.5), "bias": jnp.full(2, 0.5)}
        updates, state = tx.update(gradients, state, params)
        params = {k: params[k] + updates[k] for k in params}
    return float(params["kernel"][0, 0]), float(params["bias"][0])


def test_sgd_by_hand():
    kernel, bias = run(optimizer(name="sgd", momentum=0.9, weight_decay=0.01))
    v1 = 0.5 + 0.01 * 3.0
    w1 = 3.0 - 0.1 * v1
    v2 = 0.9 * v1 + 0.5 + 0.01 * w1
    assert kernel == pytest.approx(w1 - 0.1 * v2, rel=1e-6)
    assert bias == pytest.approx(3.0 - 0.1 * 0.5 - 0.1 * (0.9 * 0.5 + 0.5), rel=1e-6)


@pytest.mark.parametrize("name", ["sgd", "sgd2012", "adamw", "lars"])
def test_a_layer_has_its_factor_of_the_rate(name):
    def moved(learning_rate, **more):
        tx = create_optimizer(
            name=name,
            learning_rate=learning_rate,
            schedule={"name": "constant"},
            total_steps=10,
            to_steps=in_steps,
            clip=1.0,
            **more,
        ).tx
        params = {layer: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for layer in "ab"}
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(params, state, params)
        return updates

    plain, slower, scaled = moved(0.1), moved(0.025), moved(0.1, layer_rate={"a": 0.25})
    for leaf in ("kernel", "bias"):
        np.testing.assert_allclose(scaled["a"][leaf], slower["a"][leaf], rtol=1e-5)
        np.testing.assert_array_equal(scaled["b"][leaf], plain["b"][leaf])


def test_adamw_decays_kernels_only():
    kernel, bias = run(optimizer(name="adamw", weight_decay=0.1), steps=1)
    assert bias == pytest.approx(3.0 - 0.1, rel=1e-5)
    assert kernel == pytest.approx(3.0 - 0.1 - 0.1 * 0.1 * 3.0, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"name": "adamvw"}, "adamw"),
        ({"name": "sgd", "momentun": 0.9}, "momentum"),
        ({"name": "adam", "weight_decay": 0.1}, "b1, b2, eps"),
    ],
)
def test_mistakes_name_the_nearest(options, hint):
    with pytest.raises(UsageError, match=hint):
        optimizer(**options)


def test_unknown_schedule():
    with pytest.raises(UsageError, match="cosine"):
        schedule(name="cosin")
