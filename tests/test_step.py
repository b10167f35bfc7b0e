import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lenet_alexnet.data.preprocess.digits import create_preprocess
from lenet_alexnet.data.sources.embedded import DIGITS
from lenet_alexnet.losses import create_loss, softmax_cross_entropy
from lenet_alexnet.models import create_model
from lenet_alexnet.training import scoring
from lenet_alexnet.training import step as steps
from lenet_alexnet.training.evaluation import results
from lenet_alexnet.training.state import NEVER, Metrics, Seen, init_state
from lenet_alexnet.training.update import BatchUpdate

LOSS = create_loss(name="softmax")
MODEL = create_model(name="lenet5")
PREPROCESS = create_preprocess(mean=0.1, std=0.3, pad=2, distort={"shift": 2.0})
KEY = jax.random.key(7)


@pytest.fixture
def data(rng):
    images = jnp.asarray(rng.integers(0, 256, (23, 28, 28, 1)), jnp.uint8)
    return images, jnp.asarray(rng.integers(0, 10, 23), jnp.int32)


def state_of(tx):
    images = np.zeros((1, 28, 28, 1), np.uint8)
    init = jax.jit(functools.partial(init_state, MODEL, tx, PREPROCESS))
    return init(jax.random.key(0), images)


def make_step(tx, loss=LOSS, accumulate=1, average=0.0):
    update = BatchUpdate(model=MODEL, tx=tx, loss=loss, accumulate=accumulate)
    return steps.TrainStep(update=update, preprocess=PREPROCESS, average=average)


def test_one_step_is_the_gradient_of_the_mean_loss(data):
    tx = optax.sgd(0.1)
    index = jnp.array([3, 0, 22, 7])
    images, labels = data[0][index], data[1][index]
    state = state_of(tx)
    new = jax.jit(make_step(tx))(state, *data, index, KEY)

    distort_key = jax.random.split(jax.random.fold_in(KEY, 0))[0]
    x = PREPROCESS(images, jax.vmap(jax.random.fold_in, (None, 0))(distort_key, index))
    logits = jax.jit(MODEL.apply)({"params": state.params}, x)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    error = probabilities - np.eye(10)[labels]
    # The output layer's bias moves by minus the rate times the mean of p - t.
    np.testing.assert_allclose(new.params["output"]["bias"], -0.1 * error.mean(0), atol=1e-6)
    losses = -np.log(probabilities[np.arange(4), labels])
    np.testing.assert_allclose(new.metrics.loss, losses.sum(), rtol=1e-5)
    assert int(new.metrics.errors) == int((probabilities.argmax(-1) != labels).sum())
    assert (int(new.step), int(new.metrics.examples)) == (1, 4)


def test_fixed_variants_are_the_original_and_then_distortions_of_it(data):
    images, _ = data
    index = jnp.array([5, 5 + 23, 5 + 46])  # Image 5 of 23, and two variants of it.

    @functools.partial(jax.jit, static_argnames="size")
    def draw(index, size):
        return steps.draw(PREPROCESS, images[index % 23], index, KEY, size=size)

    original, first, second = draw(index, size=23)
    # Two programs, whose sums XLA may round differently; a grey level is 0.013.
    np.testing.assert_allclose(original, PREPROCESS(images[5:6], None)[0], rtol=0, atol=1e-6)
    assert np.abs(first - original).max() > 0.1 < np.abs(second - first).max()
    again = draw(index[1:2], size=23)[0]
    np.testing.assert_allclose(again, first, atol=1e-6)  # For any batch.
    fresh = draw(index[:1], size=0)[0]
    assert np.abs(fresh - original).max() > 0.1  # With one variant the image itself changes.


def test_dispatches_give_the_same_bits_however_they_are_cut(data):
    tx = optax.adamw(1e-2)
    run = jax.jit(functools.partial(steps.resident_steps, make_step(tx)))
    order = np.random.default_rng(0).integers(0, 23, (12, 5)).astype(np.int32)

    def train(cuts):
        state, done = state_of(tx), 0
        for count in cuts:
            rows = np.zeros((12, 5), np.int32)
            rows[:count] = order[done : done + count]
            state, sums = run(state, *data, rows, np.int32(count), np.bool_(done == 0), KEY)
            done += count
        return state, sums

    def same(a, b):
        return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), a, b))

    whole, parts = train([12]), train([1, 4, 7])
    assert same(whole, parts)
    assert run._cache_size() == 1  # One program for every count.
    full = run(state_of(tx), *data, order, None, np.True_, KEY)  # The number is a constant.
    assert same(whole, full)
    assert int(whole[1].examples) == 60


def test_fresh_starts_the_sums_anew(data):
    tx = optax.sgd(0.1)
    run = jax.jit(functools.partial(steps.resident_steps, make_step(tx)))
    order = np.zeros((3, 5), np.int32)
    state, _ = run(state_of(tx), *data, order, np.int32(3), np.True_, KEY)
    kept, _ = run(state, *data, order, np.int32(1), np.False_, KEY)
    fresh, _ = run(state, *data, order, np.int32(1), np.True_, KEY)
    assert (int(kept.metrics.examples), int(fresh.metrics.examples)) == (20, 5)


def test_the_first_step_that_is_not_finite_is_named(data):
    tx = optax.sgd(1e38)
    run = jax.jit(functools.partial(steps.resident_steps, make_step(tx)))
    order = np.arange(20, dtype=np.int32).reshape(4, 5)
    _, sums = run(state_of(tx), *data, order, np.int32(4), np.True_, KEY)
    assert 2 <= int(sums.first_bad_step) <= 3  # Step 1 is fine, its update is not.
    _, sums = run(state_of(optax.sgd(0.1)), *data, order, np.int32(1), np.True_, KEY)
    assert int(sums.first_bad_step) == NEVER


@pytest.mark.parametrize("batch_size", [1, 4, 22, 23])
def test_evaluation_counts_every_example_once_at_any_batch_size(data, batch_size):
    params = state_of(optax.sgd(0.1)).params
    scores = scoring.make_scores(MODEL, PREPROCESS)
    evaluate = jax.jit(scoring.make_evaluate(scores, LOSS, batch_size))
    first = evaluate(scoring.Tally.zero(10), {"params": params}, *data, 20)
    rest = [jnp.roll(x, 3, axis=0) for x in data]  # Its first three are the last of all.
    found = results(evaluate(first, {"params": params}, *rest, 3), DIGITS)
    logits = jax.jit(MODEL.apply)({"params": params}, PREPROCESS(data[0], None))
    assert found["examples"] == 23
    assert found["top1_error"] == float(np.mean(np.asarray(logits.argmax(-1) != data[1])))
    np.testing.assert_allclose(found["loss"], LOSS(logits, data[1]).mean(), rtol=1e-5)
    wrong, shares = np.asarray(logits.argmax(-1) != data[1]), []
    for digit, one in enumerate(found["by_class"]):
        own = np.asarray(data[1]) == digit
        assert one == {"class": DIGITS[digit], "errors": wrong[own].sum(), "examples": own.sum()}
        shares += [1 - wrong[own].mean()] if own.any() else []
    assert found["balanced_accuracy"] == pytest.approx(np.mean(shares))


WEIGHTS = (3.0, 0.1, 1.0, 5.0, 0.0, 1.0, 2.0, 1.0, 0.5, 1.0)


@pytest.mark.slow
def test_class_weights_are_those_of_a_weighted_mean(data):
    index, ten = jnp.array([3, 0, 22, 7]), np.array(WEIGHTS)
    tx, labels = optax.sgd(0.1), data[1][jnp.array([3, 0, 22, 7])]

    def after(weights):
        loss = create_loss(name="softmax", class_weights=weights)
        step = make_step(tx, loss)
        return jax.jit(step)(state_of(tx), *data, index, KEY)

    found, scaled = after(WEIGHTS), after(tuple(7 * ten))
    assert_close(found.params, scaled.params, 1e-6)
    start = state_of(tx).params
    distort_key = jax.random.split(jax.random.fold_in(KEY, 0))[0]
    x = PREPROCESS(data[0][index], jax.vmap(jax.random.fold_in, (None, 0))(distort_key, index))
    log_probs = jax.nn.log_softmax(jax.jit(MODEL.apply)({"params": start}, x))
    w = ten[labels] / ten[labels].sum()
    error = w @ (np.exp(log_probs) - np.eye(10)[labels])
    moved = found.params["output"]["bias"] - start["output"]["bias"]
    np.testing.assert_allclose(moved, -0.1 * error, atol=1e-6)
    mean = -w @ np.asarray(log_probs)[np.arange(4), labels]
    np.testing.assert_allclose(found.metrics.loss / 4, mean, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(data, weights):
    tx, loss = optax.sgd(0.5), create_loss(name="softmax", class_weights=weights)
    index = jnp.array([3, 0, 22, 7, 9, 1])

    def after(accumulate):
        step = make_step(tx, loss, accumulate)
        return jax.jit(step)(state_of(tx), *data, index, KEY)

    whole, parts = after(1), after(3)
    assert_close(whole.params, parts.params, 1e-5)
    assert int(whole.metrics.errors) == int(parts.metrics.errors)
    np.testing.assert_allclose(whole.metrics.loss, parts.metrics.loss, rtol=1e-5)


def test_the_moving_average_is_what_is_evaluated(data):
    tx = optax.sgd(0.5)
    index = jnp.arange(6)
    state = state_of(tx)
    state = state.replace(average=jax.tree.map(jnp.copy, state.params))
    step = jax.jit(make_step(tx, average=0.75))
    ema = optax.ema(0.75, debias=True)
    theirs = ema.init(state.params)
    for _ in range(3):  # The initial parameters are not part of the average.
        state = step(state, *data, index, KEY)
        expected, theirs = ema.update(state.params, theirs)
        assert_close(state.variables["params"], expected, 1e-6)
    two = state
    whole = two.rest.with_variables(two.variables)
    assert jax.tree.structure(whole) == jax.tree.structure(two)


def test_streamed_batches_give_the_steps_of_resident_data(data):
    images, labels = data
    order = np.random.default_rng(0).integers(0, 23, (4, 5)).astype(np.int32)
    tx = optax.sgd(0.1, momentum=0.9)
    step = make_step(tx)
    resident = jax.jit(functools.partial(steps.resident_steps, step))
    stream = jax.jit(functools.partial(steps.streamed_steps, step))
    tail = (order, np.int32(3), np.True_, KEY)
    a, _ = resident(state_of(tx), images, labels, *tail)
    b, _ = stream(state_of(tx), images[order], labels[order], *tail)
    assert_close(a.params, b.params, 1e-6)


def test_views_and_several_networks_are_averaged_as_probabilities(data):
    images = data[0][:4]
    variables = [{"params": state_of(optax.sgd(0.1)).params} for _ in range(2)]
    variables[1] = jax.tree.map(lambda p: 2 * p, variables[1])

    def views(batch):
        return jnp.stack([PREPROCESS(batch, None), PREPROCESS(batch[:, :, ::-1], None)])

    each = scoring.make_scores(MODEL, PREPROCESS, views)
    found = jax.jit(scoring.mean_scores([each, each]))(variables, images)
    apply = jax.jit(MODEL.apply)
    several = [jax.nn.softmax(apply(v, x)) for v in variables for x in views(images)]
    np.testing.assert_allclose(jnp.exp(found), sum(several) / 4, rtol=1e-4, atol=1e-6)


def assert_close(a, b, tolerance):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b
    )


def test_metrics_count_ranks_and_never_take_nan_for_a_hit():
    logits = jnp.array(
        [[3.0, 2, 1, 0, -1, -2, -3], [0, 1, 2, 3, 4, 5, 6.0], [jnp.nan] * 7, [1, 0, 0, 0, 0, 0, 0]]
    )
    labels = jnp.array([0, 1, 0, 0])
    mask = jnp.array([True, True, True, False])
    sums = Metrics.zero().add(Seen.of(jnp.ones(4), logits, labels, mask))
    # Row 0 hits, row 1's label is sixth, row 2 is NaN, row 3 is padding.
    assert (int(sums.errors), int(sums.top5_errors), int(sums.examples)) == (2, 2, 3)
    assert float(sums.loss) == 3.0


def test_ties_are_misses():
    """Also for the top five, if the right class and all its ties do not fit in."""

    def errors(*rows):
        logits = jnp.array(rows, jnp.float32)
        seen = jax.jit(Seen.of)(jnp.zeros(len(rows)), logits, jnp.zeros(len(rows), jnp.int32))
        return int(seen.errors), int(seen.top5_errors)

    assert errors([0.0] * 10) == (1, 1)  # Constant outputs carry no information.
    assert errors([2, 2, 0, 0, 0, 0]) == (1, 0)
    assert errors([1, 1, 2, 2, 2, 0]) == (1, 0)  # At worst the fifth.
    assert errors([1, 1, 2, 2, 2, 2]) == (1, 1)  # At worst the sixth.
    assert errors([1, 0, 0, 0, 0, 0]) == (0, 0)
    broken = [[1, jnp.nan, 0], [jnp.nan, 1, 0], [jnp.inf, 1, 0]]
    assert errors(*broken) == (3, 3)  # Though there are fewer than five classes.


def test_without_ties_or_nan_errors_are_those_of_sorting(rng):
    logits, labels = rng.normal(size=(300, 8)), rng.integers(0, 8, 300)
    place = (np.argsort(-logits, axis=1) == labels[:, None]).argmax(1)
    seen = Seen.of(jnp.zeros(300), jnp.asarray(logits), jnp.asarray(labels))
    assert (int(seen.errors), int(seen.top5_errors)) == ((place > 0).sum(), (place > 4).sum())


@pytest.mark.parametrize("name", ["lenet5", pytest.param("lenet5_1998", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_evaluation_of_bfloat16_is_the_same_at_any_batch_size_without_ties(rng, name):
    images = jnp.asarray(rng.integers(0, 256, (100, 28, 28, 1)), jnp.uint8)
    labels = jnp.asarray(rng.integers(0, 10, 100), jnp.int32)
    model = create_model(name=name, precision="bfloat16")
    variables = model.init(KEY, PREPROCESS(images[:1], None))
    scores = scoring.make_scores(model, PREPROCESS)
    first, found = [
        results(
            jax.jit(scoring.make_evaluate(scores, LOSS, size))(
                scoring.Tally.zero(10), variables, images, labels, 100
            ),
            DIGITS,
        )
        for size in (100, 7)
    ]
    assert found == first | {"loss": pytest.approx(first["loss"], rel=2e-6)}
    ordered = np.sort(jax.jit(scores)(variables, images), axis=1)
    assert (ordered[:, 1:] > ordered[:, :-1]).all()


def test_softmax_cross_entropy_with_smoothing(rng):
    logits, labels = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    target = 0.9 * np.eye(4)[labels] + 0.1 / 4
    found = softmax_cross_entropy(jnp.asarray(logits), jnp.asarray(labels), label_smoothing=0.1)
    np.testing.assert_allclose(found, -(target * np.log(p)).sum(-1), rtol=1e-5)
