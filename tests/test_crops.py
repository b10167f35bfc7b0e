import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.data.preprocess.photos import colour_shift, create_photo_preprocess, create_views
from lenet_alexnet.data.preprocess.statistics import compute
from lenet_alexnet.errors import UsageError

SIZE, CROP = 12, 8


@pytest.fixture(scope="module")
def images():
    # Every pixel encodes its position: red = row, green = column.
    rows, columns = np.mgrid[:SIZE, :SIZE]
    one = np.stack([10 * rows, 10 * columns, 7 * rows + 3 * columns], -1)
    return jnp.asarray(np.stack([one + n for n in range(4)]), jnp.uint8)


@pytest.fixture(scope="module")
def statistics(images):
    return compute(np.random.default_rng(0).integers(0, 256, (50, SIZE, SIZE, 3), np.uint8))


def make(**options):
    options = {
        "image_size": SIZE,
        "crop": CROP,
        "statistics": None,
        "mean": "none",
        "colour_noise": 0.0,
        "flip": False,
    } | options
    return jax.jit(create_photo_preprocess(**options))


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def places(x):
    """The positions (row, column) of crops of the painted images."""
    return [(int(crop[0, 0, 0]) // 10, int(crop[0, 0, 1]) // 10) for crop in np.asarray(x)]


def test_every_place_is_equally_likely(images):
    count = 5000
    found = places(make()(jnp.tile(images[:1], (count, 1, 1, 1)), keys(count)))
    tally = np.zeros((SIZE - CROP + 1,) * 2)
    for row, column in found:
        tally[row, column] += 1
    expected = count / tally.size  # 25 places
    chi2 = ((tally - expected) ** 2 / expected).sum()
    assert chi2 < 51.2  # 0.1 % of 24 degrees of freedom


def test_a_crop_is_a_window_of_the_image(images):
    x = np.asarray(make()(images, keys(4)))
    for n, (row, column) in enumerate(places(x - np.arange(4)[:, None, None, None])):
        window = images[n, row : row + CROP, column : column + CROP]
        np.testing.assert_array_equal(x[n], window)


def test_half_are_reflected(images):
    many = jnp.tile(images[:1], (2000, 1, 1, 1))
    x = np.asarray(make(flip=True)(many, keys(2000)))
    reflected = x[:, 0, 0, 1] > x[:, 0, -1, 1]
    assert abs(reflected.mean() - 0.5) < 0.04


def test_neighbours_share_place_and_reflection_but_not_noise(images, statistics):
    many = jnp.tile(images[:1], (8, 1, 1, 1))
    x = np.asarray(make(flip=True, share=4)(many, keys(8)))
    assert all(np.array_equal(x[i], x[i // 4 * 4]) for i in range(8))
    assert not np.array_equal(x[0], x[4])
    noisy = np.asarray(make(share=4, statistics=statistics, colour_noise=0.1)(many, keys(8)))
    assert len({float(crop[0, 0, 0]) for crop in noisy[:4]}) == 4


def test_a_draw_does_not_depend_on_the_batch(images, statistics):
    run = make(flip=True, statistics=statistics, mean="image", colour_noise=0.1)
    whole, part = run(images, keys(4)), run(images[2:], keys(4)[2:])
    np.testing.assert_allclose(whole[2:], part, atol=1e-4)


def test_noise_has_the_stated_covariance_and_is_one_colour_for_an_image(images, statistics):
    shifts = np.asarray(jax.jit(lambda k: colour_shift(k, statistics))(keys(20_000)))
    vectors, values = statistics.eigenvectors, statistics.eigenvalues
    covariance = vectors @ np.diag(values) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), covariance, atol=0.05 * values.max())
    clean, noisy = make(), make(statistics=statistics, colour_noise=0.1)
    difference = np.asarray(noisy(images, keys(4)) - clean(images, keys(4)))
    np.testing.assert_allclose(
        difference, difference[:, :1, :1] * np.ones_like(difference), atol=1e-3
    )
    # A tenth of the standard deviations: grey levels, not hundreds of them.
    assert 1 < np.abs(difference[:, 0, 0]).max() < 40


def test_the_source_divides_while_there_is_noise_and_both_end_at_a_step(images, statistics):
    traces = []
    options = {"statistics": statistics, "colour_noise": 0.1, "colour_until": 100}
    preprocess = create_photo_preprocess(
        image_size=SIZE, crop=CROP, mean="none", flip=False, colour_form="source", **options
    )

    @jax.jit
    def run(step):
        traces.append(1)
        return preprocess(images, keys(4), step)

    before, after = run(jnp.int32(99)), run(jnp.int32(100))
    assert len(traces) == 1
    clean = make()(images, keys(4))
    np.testing.assert_array_equal(after, clean)
    paper = make(**{**options, "colour_until": 0})(images, keys(4))
    np.testing.assert_allclose(before, paper / 1.1, rtol=1e-5)


@pytest.mark.parametrize("mean", ["image", "centre", "channel"])
def test_what_is_subtracted(images, statistics, mean):
    run = make(statistics=statistics, mean=mean)
    x, plain = run(images, keys(4)), make()(images, keys(4))
    image = statistics.mean_image
    for n, (row, column) in enumerate(places(plain - np.arange(4)[:, None, None, None])):
        if mean == "centre":
            row, column = 2, 2
        window = image[row : row + CROP, column : column + CROP]
        expected = statistics.colour_mean if mean == "channel" else window
        np.testing.assert_allclose(
            plain[n] - x[n], np.broadcast_to(expected, x[n].shape), atol=1e-3
        )
    centre = image[2:10, 2:10] if mean != "channel" else statistics.colour_mean
    np.testing.assert_allclose(run(images), images[:, 2:10, 2:10] - centre, atol=1e-3)


def test_the_ten_views_in_the_sources_order(images):
    views = jax.jit(create_views(image_size=SIZE, crop=CROP, statistics=None, mean="none"))
    x = np.asarray(views(images[:2]))
    assert x.shape == (10, 2, CROP, CROP, 3)
    assert places(x[:5, 0]) == [(0, 0), (0, 4), (2, 2), (4, 0), (4, 4)]
    np.testing.assert_array_equal(x[5:], x[:5, :, :, ::-1])


def test_the_mean_of_a_view_is_that_of_its_place(images, statistics):
    views = jax.jit(create_views(image_size=SIZE, crop=CROP, statistics=statistics))
    np.testing.assert_allclose(
        views(images)[3], images[:, 4:, :8] - statistics.mean_image[4:, :8], atol=1e-3
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": 13}, "crop of 13 pixels does not fit images stored at 12"),
        ({"mean": "image"}, "needs the statistics"),
        ({"mean": "imag"}, "image"),
        ({"image_size": 16, "crop": 9}, "statistics are of images of 12 pixels"),
    ],
)
def test_bad_options(options, words, statistics):
    if "image_size" in options:
        options = {**options, "statistics": statistics}
    with pytest.raises(UsageError, match=words):
        make(**options)
    with pytest.raises(UsageError, match="10 views need images larger"):
        create_views(image_size=8, crop=8, statistics=None, mean="none")


def test_a_given_mean_and_deviation_of_each_colour(images):
    numbers = {"mean": "given", "colour_mean": (1.0, 2.0, 3.0), "colour_std": (4.0, 5.0, 6.0)}
    plain = np.asarray(make()(images))
    expected = (plain - np.array(numbers["colour_mean"])) / np.array(numbers["colour_std"])
    np.testing.assert_allclose(make(**numbers)(images), expected, rtol=1e-6, atol=1e-6)
    views = create_views(image_size=SIZE, crop=CROP, statistics=None, **numbers)
    np.testing.assert_allclose(views(images)[2], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": "given"},
        {"mean": "given", "colour_mean": (1.0, 2.0)},
        {"colour_std": (1.0, 2.0)},
        {"colour_std": (1.0, 2.0, 0.0)},
    ],
)
def test_given_numbers_are_three(wrong):
    with pytest.raises(UsageError, match=r"data\.photo\.colour_"):
        make(**wrong)
