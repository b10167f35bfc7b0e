"""AlexNet's update, its schedules, the plateau, LARS, rates by batch size."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.errors import UsageError
from lenet_alexnet.losses import create_loss
from lenet_alexnet.optimizers import create_optimizer
from lenet_alexnet.training.builders import build_optimizer
from lenet_alexnet.training.experiment import build
from tests.helpers import ROOT

CONSTANT = {"name": "constant"}


def make(name="sgd2012", learning_rate=0.1, schedule=CONSTANT, total_steps=100, **options):
    return create_optimizer(
        name=name,
        learning_rate=learning_rate,
        schedule=schedule,
        total_steps=total_steps,
        to_steps=lambda text: int(text.split()[0]),
        **options,
    )


def layer(kernel, bias):
    return {"kernel": jnp.array(kernel), "bias": jnp.array(bias)}


PARAMS = {"conv1": layer([[2.0]], [[1.0]]), "fc8": layer([[-1.0]], [0.5])}
GRADIENTS = {"conv1": layer([[0.3]], [[0.2]]), "fc8": layer([[0.4]], [-0.1])}


def after(optimizer, steps, gradients=GRADIENTS, params=PARAMS):
    @jax.jit
    def step(params, state):
        updates, state = optimizer.tx.update(gradients, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    state = optimizer.tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


def test_the_update_of_2012_by_hand():
    found = after(make(momentum=0.9, weight_decay=0.01), 2)
    w = 2.0
    v = -0.01 * 0.1 * w - 0.1 * 0.3  # -0.032
    w += v  # 1.968
    v = 0.9 * v - 0.01 * 0.1 * w - 0.1 * 0.3
    np.testing.assert_allclose(found["conv1"]["kernel"], [[w + v]], rtol=1e-6)
    b = 0.5  # The paper's text makes no exception for biases.
    v = -0.01 * 0.1 * b + 0.1 * 0.1
    b += v
    v = 0.9 * v - 0.01 * 0.1 * b + 0.1 * 0.1
    np.testing.assert_allclose(found["fc8"]["bias"], [b + v], rtol=1e-6)


def test_the_rate_is_inside_the_velocity():
    schedule = {"name": "steps", "boundaries": ("1 steps",), "factor": 0.1}
    found = after(make(schedule=schedule, momentum=0.9, weight_decay=0.0), 2)
    v1 = -0.1 * 0.3
    expected = 2 + v1 + (0.9 * v1 - 0.01 * 0.3)  # The first velocity is not divided by 10.
    np.testing.assert_allclose(found["conv1"]["kernel"], [[expected]], rtol=1e-6)


def test_biases_have_a_factor_and_no_decay():
    found = after(make(bias_rate_factor=2.0, bias_decay=False, weight_decay=0.5), 1)
    np.testing.assert_allclose(found["conv1"]["bias"], [[1 - 2 * 0.1 * 0.2]], rtol=1e-6)
    np.testing.assert_allclose(found["conv1"]["kernel"], [[2 - 0.5 * 0.1 * 2 - 0.03]], rtol=1e-6)


def test_a_layer_has_its_own_decay():
    still = jax.tree.map(jnp.zeros_like, GRADIENTS)
    optimizer = make(weight_decay=0.5, layer_decay={"fc8": 3.0}, bias_decay=False)
    found = after(optimizer, 1, still)
    np.testing.assert_allclose(found["fc8"]["kernel"] / PARAMS["fc8"]["kernel"], 1 - 3 * 0.1)
    np.testing.assert_allclose(found["fc8"]["bias"], PARAMS["fc8"]["bias"])
    np.testing.assert_allclose(found["conv1"]["kernel"], [[2 * (1 - 0.5 * 0.1)]], rtol=1e-6)


@pytest.mark.parametrize("option", ["layer_decay", "layers"])
def test_a_layer_that_the_network_does_not_have_is_refused(option):
    config = configs.load(str(ROOT / "configs" / "lenet5_quickstart.py")).get_config().unlock()
    value = {"layer_decay": 0.1, "layers": {"boundaries": (), "values": (1.0,)}}[option]
    config.optimizer = {
        "name": "sgd2012",
        "learning_rate": 0.1,
        "schedule": {"name": "constant"},
        option: {"F66": value},
    }
    with pytest.raises(UsageError, match=f"optimizer.{option}.*'F66'.*F6"):
        build(config)


def moves(optimizer, steps, share=None):
    """By how much conv1's kernel and bias move in each step, without momentum and decay."""
    params, state, found = PARAMS, optimizer.tx.init(PARAMS), []
    if share is not None:
        state = state._replace(plateau=state.plateau._replace(share=jnp.float32(share)))
    update = jax.jit(optimizer.tx.update)
    for _ in range(steps):
        updates, state = update(GRADIENTS, state, params)
        found.append([float(updates["conv1"][name][0, 0]) for name in ("kernel", "bias")])
    return np.array(found) / [-0.3, -0.2]


PLAIN = {"momentum": 0.0, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("own", "ratios"), [({}, [2, 2, 2]), ({"bias_schedule": CONSTANT}, [4, 2, 20])]
)
def test_the_rate_of_biases_follows_the_schedule_or_its_own(own, ratios):
    schedule = {"name": "steps", "boundaries": ("2 steps",), "factor": 0.1, "warmup": "1 steps"}
    found = moves(make(schedule=schedule, bias_rate_factor=2.0, **own, **PLAIN), 3)
    np.testing.assert_allclose(found[:, 0], [0.05, 0.1, 0.01], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1] / found[:, 0], ratios, rtol=1e-5)


@pytest.mark.parametrize("own", [{}, {"bias_schedule": CONSTANT}])
@pytest.mark.parametrize(
    "options",
    [
        {"back_off": True},
        {"plateau": {"patience": 1, "min_improvement": 0.0, "factor": 0.1, "drops": 3}},
    ],
)
def test_back_off_and_plateau_lower_the_rate_of_biases(options, own):
    optimizer = make(bias_rate_factor=2.0, **options, **own, **PLAIN)
    found = moves(optimizer, 1, share=0.25)
    np.testing.assert_allclose(found, [[0.25 * 0.1, 0.25 * 0.2]], rtol=1e-5)


@pytest.mark.parametrize(
    ("file", "at", "rates"),
    [  # (weights, biases) at steps of 128 of 1,280 images, 10 an epoch; Caffe's steps are its own.
        ("alexnet_2012", 0, (0.01, 0.02)),
        ("alexnet_2012", 900, (1e-5, 0.02)),
        ("alexnet_caffe", 0, (0.01, 0.02)),
        ("alexnet_caffe", 400_000, (1e-6, 2e-6)),
    ],
)
def test_the_rates_of_biases_in_the_configs(file, at, rates):
    config = configs.load(str(ROOT / "configs" / f"{file}.py")).get_config()
    with config.unlocked():
        config.train.batch_size = 128
        config.optimizer.update(momentum=0.0, weight_decay=0.0)
    optimizer = build_optimizer(config, 1280)
    state = optimizer.tx.init(PARAMS)._replace(steps=jnp.int32(at))
    updates, _ = jax.jit(optimizer.tx.update)(GRADIENTS, state, PARAMS)
    found = [float(updates["fc8"]["kernel"][0, 0]) / -0.4, float(updates["fc8"]["bias"][0]) / 0.1]
    np.testing.assert_allclose(found, rates, rtol=1e-4)


@pytest.mark.parametrize("name", ["sgd", "sgd2012"])
@pytest.mark.parametrize("decays", [False, True])
def test_whether_biases_decay(name, decays):
    optimizer = make(name, momentum=0.0, weight_decay=0.5, bias_decay=decays)
    found = after(optimizer, 1, jax.tree.map(jnp.zeros_like, GRADIENTS))
    np.testing.assert_allclose(found["conv1"]["kernel"], [[2 - 0.5 * 0.1 * 2]], rtol=1e-6)
    np.testing.assert_allclose(found["conv1"]["bias"], [[1 - 0.05 * decays]], rtol=1e-6)


def test_torchvisions_recipe_decays_biases_too():
    assert configs.load(str(ROOT / "configs" / "alexnet_owt.py")).get_config().optimizer.bias_decay


def test_a_layer_is_slowed_and_then_frozen():
    layers = {"conv1": {"boundaries": ("1 steps", "2 steps"), "values": (1.0, 0.1, 0.0)}}
    optimizer = make(layers=layers, momentum=0.0, weight_decay=0.0)
    kernels = [float(after(optimizer, n)["conv1"]["kernel"][0, 0]) for n in range(5)]
    np.testing.assert_allclose(np.diff(kernels), [-0.03, -0.003, 0, 0], atol=1e-6)
    other = [float(after(optimizer, n)["fc8"]["kernel"][0, 0]) for n in range(3)]
    np.testing.assert_allclose(np.diff(other), [-0.04, -0.04], rtol=1e-5)


def rates(schedule, steps, total_steps=100):
    rate = jax.jit(make(schedule=schedule, learning_rate=0.01, total_steps=total_steps).rate)
    return [float(rate(step)) for step in steps]


def test_schedules_at_their_edges():
    factor = 250 ** (-1 / 3)  # 0.1587, the facts of run 170
    found = rates({"name": "dexp", "factor": 250.0, "parts": 4}, [0, 24, 25, 49, 50, 74, 75, 99])
    levels = [0.01 * factor**k for k in (0, 0, 1, 1, 2, 2, 3, 3)]
    np.testing.assert_allclose(found, levels, rtol=1e-5)
    np.testing.assert_allclose(levels[-1], 0.01 / 250, rtol=1e-5)
    found = rates({"name": "polynomial", "power": 2.0}, [0, 50, 99, 100])
    np.testing.assert_allclose(found, [0.01, 0.0025, 1e-6, 0], rtol=1e-3, atol=1e-9)


def test_plateau_drops_three_times_and_never_again():
    plateau = {"patience": 2, "min_improvement": 0.0, "factor": 0.1, "drops": 3}
    optimizer = make(plateau=plateau, momentum=0.0, weight_decay=0.0)
    observe = jax.jit(optimizer.observe)
    state = optimizer.tx.init(PARAMS)
    shares = []
    for error in (0.9, 0.8, 0.8, 0.85, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7):
        state = observe(state, error)
        shares.append(float(state.plateau.share))
    expected = [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    updates, _ = jax.jit(optimizer.tx.update)(GRADIENTS, state, PARAMS)
    np.testing.assert_allclose(updates["conv1"]["kernel"], [[-0.3 * 0.1 * 0.001]], rtol=1e-5)


def test_lars_against_numpy():
    kernel = np.array([[[3.0, 0.0]], [[0.0, 4.0]]])  # Two towers are one layer: |w| = 5.
    gradient = np.array([[[0.0, 0.6]], [[0.8, 0.0]]])  # |g| = 1
    params = {"conv2": {"kernel": jnp.array(kernel), "bias": jnp.array([[1.0], [2.0]])}}
    gradients = {"conv2": {"kernel": jnp.array(gradient), "bias": jnp.array([[0.1], [0.2]])}}
    options = {"eta": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    found = after(make("lars", learning_rate=2.0, **options), 2, gradients, params)
    w, v = kernel, 0
    for _ in range(2):
        size, slope = np.linalg.norm(w), np.linalg.norm(gradient)
        v = 0.9 * v + 2.0 * 0.01 * size / (slope + 0.1 * size) * (gradient + 0.1 * w)
        w = w - v
    np.testing.assert_allclose(found["conv2"]["kernel"], w, rtol=1e-5)
    np.testing.assert_allclose(
        found["conv2"]["bias"], [[1 - 0.2 * 2.9], [2 - 0.4 * 2.9]], rtol=1e-5
    )


def test_the_rate_by_batch_size_is_said():
    linear = make(learning_rate=0.01, scale_rule="linear", batch_size=512)
    assert linear.note == "learning rate 0.04: 0.01 at 128, linear rule"
    np.testing.assert_allclose(linear.rate(0), 0.04, rtol=1e-6)
    root = make(learning_rate=0.01, scale_rule="sqrt", batch_size=512)
    np.testing.assert_allclose(root.rate(0), 0.02, rtol=1e-6)
    with pytest.raises(UsageError, match="linear"):
        make(scale_rule="liner")


def test_the_rule_is_for_the_rate_of_the_biases_too():
    options = {"bias_rate_factor": 2.0, "bias_schedule": CONSTANT, **PLAIN}
    alone = after(make(learning_rate=0.01, **options), 1)
    scaled = after(make(learning_rate=0.01, scale_rule="linear", batch_size=256, **options), 1)
    for name in ("kernel", "bias"):
        start = np.asarray(PARAMS["conv1"][name])
        np.testing.assert_allclose(
            scaled["conv1"][name] - start, 2 * (alone["conv1"][name] - start), rtol=1e-4
        )


def test_in_turns_the_rule_goes_by_the_part_for_the_dense_layers():
    linear = make(learning_rate=0.01, scale_rule="linear", batch_size=512, dense_updates=4)
    assert linear.note == (
        "learning rate 0.04: 0.01 at 128, linear rule; "
        "fc6 to fc8: learning rate 0.01: 0.01 at 128, linear rule"
    )
    ours, dense = (after(replace(linear, tx=tx), 1) for tx in (linear.tx, linear.dense_tx))
    plain = after(make(learning_rate=0.01), 1)
    np.testing.assert_array_equal(dense["conv1"]["kernel"], plain["conv1"]["kernel"])
    assert not np.array_equal(ours["conv1"]["kernel"], plain["conv1"]["kernel"])
    assert make(learning_rate=0.01, scale_rule="linear", batch_size=512).dense_tx is None


def test_gradients_are_clipped_to_a_norm():
    gradients = jax.tree.map(lambda g: 100 * g, GRADIENTS)
    found = after(make(clip=1.0, momentum=0.0, weight_decay=0.0), 1, gradients)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(gradients)))
    np.testing.assert_allclose(found["conv1"]["kernel"], [[2 - 0.1 * 30 / norm]], rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "sgd2012", "adamw"])
def test_numbers_may_be_traced(name):
    momentum = {} if name == "adamw" else {"momentum": 0.9}

    def one(rate, decay):
        return after(make(name, rate, weight_decay=decay, **momentum), 2)["conv1"]["kernel"]

    many = jax.vmap(one)(jnp.array([0.1, 0.2]), jnp.array([0.0, 0.1]))
    np.testing.assert_allclose(many[1], one(0.2, 0.1), rtol=1e-5)


def test_class_weights_are_normalised_over_the_batch():
    logits, labels = jnp.array([[1.0, 2.0], [0.5, 0.0]]), jnp.array([0, 1])
    plain = create_loss(name="softmax")(logits, labels)
    weighted = create_loss(name="softmax", class_weights=(3.0, 0.5))(logits, labels)
    np.testing.assert_allclose(weighted, plain * jnp.array([3.0, 0.5]) / 1.75, rtol=1e-6)
    nothing = create_loss(name="softmax", class_weights=(0.0, 1.0))(logits[:1], labels[:1])
    np.testing.assert_array_equal(nothing, [0.0])
    for weights in ((1.0, -1.0), (0.0, 0.0)):
        with pytest.raises(UsageError, match="class_weights"):
            create_loss(name="softmax", class_weights=weights)


def test_as_many_class_weights_as_classes(tiny_config):
    with tiny_config.unlocked():
        tiny_config.train.loss = {"name": "softmax", "class_weights": (1.0, 2.0)}
    with pytest.raises(UsageError, match="class_weights has 2 numbers for 10 classes"):
        build(tiny_config)
