import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lenet_alexnet.data.preprocess import digits
from lenet_alexnet.errors import UsageError

affine = jax.jit(digits.affine, static_argnames=digits.RANGES)
draw = jax.jit(digits._draw)
KEYS = jax.random.split(jax.random.key(0), 6)


def blob(rng):
    """Smooth images, dark at the border, so that interpolation errors stay small."""
    images = ndimage.gaussian_filter(rng.normal(size=(6, 28, 28)), (0, 2, 2))
    images = images[..., None] / np.abs(images).max()
    window = np.hanning(28)[:, None] * np.hanning(28)
    return jnp.asarray(images * window[..., None], jnp.float32)


def test_ranges_of_zero_change_nothing(rng):
    images = blob(rng)
    np.testing.assert_allclose(affine(KEYS, images), images, atol=1e-6)


@pytest.mark.parametrize(
    "ranges",
    [
        {"shift": 3.0},
        {"scale": 0.2},
        {"squeeze": 0.2},
        {"shear": 0.3},
        {"rotation": 20.0},
        {"shift": 2.0, "scale": 0.1, "squeeze": 0.1, "shear": 0.1, "rotation": 10.0},
    ],
)
def test_equals_scipys_affine_transform(rng, ranges):
    images = blob(rng)
    found = affine(KEYS, images, **ranges)
    drawn = dict.fromkeys(digits.RANGES, 0.0) | ranges
    angle = jnp.deg2rad(drawn.pop("rotation"))
    matrix, offset = draw(KEYS, *drawn.values(), angle)
    matrix = np.asarray(matrix, float)
    centre = np.full(2, 13.5)
    expected = np.stack(
        [
            ndimage.affine_transform(image[..., 0], m, centre + t - m @ centre, order=1)
            for image, m, t in zip(images, matrix, np.asarray(offset, float), strict=True)
        ]
    )
    error = np.abs(found[..., 0] - expected).mean()
    moved = np.abs(found - images).mean()
    assert moved > 0.005
    assert error < 0.1 * moved  # Two passes of linear interpolation are not quite one.


def test_cubic_weights_are_nearer_to_the_truth_and_sum_to_one(rng):
    """A parabola moved by half a pixel is exact; linear weights flatten it."""
    parabola = jnp.asarray(np.linspace(-1, 1, 28) ** 2, jnp.float32)
    points = jnp.arange(4.0, 24.0) + 0.5
    found = {
        name: weights(points[:, None] - jnp.arange(28.0)) @ parabola
        for name, weights in digits.WEIGHTS.items()
    }
    expected = (2 * points / 27 - 1) ** 2
    np.testing.assert_allclose(found["cubic"], expected, atol=1e-6)
    assert np.abs(found["linear"] - expected).min() > 1e-3
    shares = digits.WEIGHTS["cubic"](points[:, None] - jnp.arange(28.0)).sum(1)
    np.testing.assert_allclose(shares, 1.0, atol=1e-6)
    options = {"mean": 0.0, "std": 1.0, "pad": 0, "distort": {"shift": 3.0}}
    images = jnp.asarray(rng.integers(0, 2, (6, 28, 28, 1)) * 255, jnp.uint8)
    cubic = jax.jit(digits.create_preprocess(interpolation="cubic", **options))(images, KEYS)
    linear = jax.jit(digits.create_preprocess(interpolation="linear", **options))(images, KEYS)
    assert 0 <= cubic.min() < cubic.max() <= 1
    assert np.abs(cubic - linear).max() > 0.05
    with pytest.raises(UsageError, match="did you mean 'cubic'"):
        digits.create_preprocess(interpolation="cubci", **options)


def test_shift_moves_by_whole_pixels_exactly(monkeypatch, rng):
    images = blob(rng)
    shift = jnp.tile(jnp.array([2.0, -1.0]), (6, 1))
    monkeypatch.setattr(digits, "_draw", lambda *_: (jnp.tile(jnp.eye(2), (6, 1, 1)), shift))
    expected = jnp.roll(images, (-2, 1), (1, 2))
    np.testing.assert_allclose(
        digits.affine(KEYS, images)[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-6
    )


def test_an_images_draw_does_not_depend_on_its_batch(rng):
    images = blob(rng)
    together = affine(KEYS, images, shift=2.0, rotation=20.0)
    alone = affine(KEYS[3:4], images[3:4], shift=2.0, rotation=20.0)
    np.testing.assert_allclose(together[3:4], alone, atol=1e-6)
    assert np.abs(affine(KEYS[2:3], images[3:4], shift=2.0) - alone).max() > 0.01


def test_draws_fill_their_ranges_and_no_more():
    matrix, offset = draw(jax.random.split(KEYS[0], 4000), 2.0, 0.1, 0.0, 0.0, jnp.zeros(()))
    assert 1.99 < float(jnp.abs(offset).max()) <= 2.0
    sizes = 1 / matrix[:, 0, 0]
    assert 0.9 <= float(sizes.min()) < 0.901
    assert 1.099 < float(sizes.max()) <= 1.1 + 1e-6
    np.testing.assert_allclose(jnp.linalg.det(matrix), 1 / sizes**2, rtol=1e-5)
    squeezed, _ = draw(jax.random.split(KEYS[0], 100), 0.0, 0.0, 0.3, 0.0, jnp.zeros(()))
    np.testing.assert_allclose(jnp.linalg.det(squeezed), 1.0, rtol=1e-5)


def test_preprocess_pads_with_background_then_normalises():
    preprocess = digits.create_preprocess(mean=0.1 / 1.275, std=1 / 1.275, pad=2, distort={})
    images = jnp.full((1, 28, 28, 1), 255, jnp.uint8)
    out = preprocess(images, None)
    assert out.shape == (1, 32, 32, 1)
    np.testing.assert_allclose(out[0, 0, 0, 0], -0.1, atol=1e-6)  # 1998, sec. II.B
    np.testing.assert_allclose(out[0, 16, 16, 0], 1.175, atol=1e-6)


def test_distortion_needs_a_key_and_known_ranges(rng):
    images = jnp.asarray(rng.integers(0, 255, (2, 28, 28, 1)), jnp.uint8)
    preprocess = digits.create_preprocess(mean=0.0, std=1.0, pad=0, distort={"shift": 3.0})
    np.testing.assert_allclose(preprocess(images, None), images / 255, rtol=1e-6)
    assert np.abs(preprocess(images, KEYS[:2]) - images / 255).max() > 0.1
    with pytest.raises(UsageError, match="shift"):
        digits.create_preprocess(mean=0.0, std=1.0, pad=0, distort={"shfit": 3.0})
