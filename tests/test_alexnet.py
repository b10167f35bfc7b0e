import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.cli import main
from lenet_alexnet.errors import UsageError
from lenet_alexnet.info.network import describe
from lenet_alexnet.models import create_model, features
from lenet_alexnet.models.alexnet.variants import TWO_TOWERS
from tests.helpers import ROOT

TOTALS = {
    "paper": (60_965_224, 724_406_816),
    "source2012": (60_965_224, 724_406_816),
    "caffe": (60_965_224, 724_406_816),
    "caffenet": (60_965_224, 724_406_816),
    "single": (62_378_344, 1_135_256_096),
    "owt": (61_100_840, 714_188_480),
    "half": (59_798_312, 391_514_384),
    # A scale and a bias for each of the 1,376 maps, no biases of the convolutions; a multiply-add
    # for each of the 659,272 - 9,192 convolutional units.
    "bn": (60_965_224 + 1_376, 724_406_816 + 650_080),
}


def test_half_is_a_tower_of_the_source_with_its_norms_and_weights():
    half, source = (
        alexnet(variant=name).clone(towers=2, widths=()) for name in ("half", "source2012")
    )
    assert half == source


def alexnet(**options):
    return create_model(name="alexnet", **options)


def described(**options):
    model = alexnet(**options)
    return describe(model, model.input_shape)


def small(variant="paper", size=64, classes=7, **options):
    model = alexnet(
        variant=variant, image_size=size, num_classes=classes, dense_width=32, **options
    )
    x = 50 * jax.random.normal(jax.random.key(1), (3, *model.input_shape))
    return model, initial(model.clone(dropout=0.5, dropout_form="mask")), x


@functools.cache
def initial(model):
    """The initial variables; compiling them takes longer than everything else here."""
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *model.input_shape)))


@pytest.mark.parametrize("variant", TOTALS)
def test_totals_of_every_variant(variant):
    found = described(variant=variant)
    params, multiply_adds = TOTALS[variant]
    assert found["total_params"] == params
    if multiply_adds:
        assert found["total_multiply_adds"] == multiply_adds


@pytest.mark.parametrize("size", [224, 227])
def test_every_layer_of_the_paper_net(size):
    layers = {layer["name"]: layer for layer in described(image_size=size)["layers"]}
    for name, (params, multiply_adds) in TWO_TOWERS.items():
        assert (layers[name]["params"], layers[name]["multiply_adds"]) == (params, multiply_adds)
    shapes = {name: layer["output_shape"] for name, layer in layers.items()}
    assert shapes["conv1"] == [55, 55, 96]
    assert shapes["pool1"] == [27, 27, 96]
    assert shapes["pool2"] == [13, 13, 256]
    assert shapes["conv3"] == shapes["conv4"] == [13, 13, 384]
    assert shapes["pool5"] == [6, 6, 256]
    assert shapes["fc7"] == [4096]


def test_the_sixth_convolution_and_the_other_pooling():
    assert described(conv6=True)["total_params"] == 61_555_304
    layers = {layer["name"]: layer["output_shape"][0] for layer in described(pool="2/2")["layers"]}
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv5", "pool5")
    assert [layers[name] for name in names] == [55, 28, 26, 13, 13, 11, 6]


def test_the_smallest_image_is_named_and_works():
    with pytest.raises(UsageError, match=r"smallest that fits is 64$"):
        described(image_size=63)
    assert described(image_size=64)["layers"][-4]["output_shape"] == [1, 1, 256]
    with pytest.raises(UsageError, match="smallest"):
        described(variant="owt", image_size=32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variant": "papr"}, "paper"),
        ({"lrn": "caff"}, "caffe"),
        ({"pool": "3/3"}, "3/2"),
        ({"tower": 1}, "towers"),
        ({"towers": 3}, "neither 1 nor 2"),
        ({"stds": (0.01,)}, "8 numbers"),
        ({"biases": (0.0, 1.0)}, "8 numbers"),
        ({"dropout": 1.0}, r"0\.\.1"),
        ({"widths": (95, 256, 384, 384, 256)}, "even"),
        ({"num_classes": 0}, "at least 1"),
    ],
)
def test_wrong_switches_name_the_nearest(options, words):
    with pytest.raises(UsageError, match=words):
        alexnet(**options)


@pytest.mark.slow
def test_towers_meet_at_conv3_and_not_before():
    model, variables, x = small()

    def map_of(kernel2, name):
        params = jax.tree.map(lambda p: p, variables["params"])
        params["conv2"]["kernel"] = kernel2
        return features(model, params, x)[name]

    kernel = variables["params"]["conv2"]["kernel"]
    other = kernel.at[1].multiply(3.0)  # Only the second tower's filters.
    run = jax.jit(map_of, static_argnums=1)
    for name, half in (("conv2", 128), ("pool2", 128)):
        a, b = run(kernel, name), run(other, name)
        np.testing.assert_array_equal(a[..., :half], b[..., :half])
        assert np.abs(a - b)[..., half:].max() > 0
    changed = np.abs(run(kernel, "conv3") - run(other, "conv3")).max((0, 1, 2))
    assert min(changed[:192].max(), changed[192:].max()) > 0


def conv(x, kernel, pad, stride=1):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, pad, dimension_numbers=layout)


def lrn(x, k, alpha):
    out = np.zeros_like(x)
    for i in range(x.shape[-1]):
        window = x[..., max(i - 2, 0) : i + 3]
        out[..., i] = x[..., i] / (k + alpha * (window**2).sum(-1)) ** 0.75
    return out


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["paper", "source2012", "caffe", "caffenet"])
def test_first_block_against_the_text(variant):
    model, variables, x = small(variant)
    params = variables["params"]
    found = jax.jit(lambda v, x: features(model, v, x))(params, x)
    before, after = 0, -(64 - 11) % 4
    maps = []
    for t in range(2):
        y = conv(x, params["conv1"]["kernel"][t], ((before, after),) * 2, 4)
        maps.append(np.asarray(y + params["conv1"]["bias"][t]))
    k, alpha = {"paper": (2, 1e-4), "source2012": (2, 2e-5)}.get(variant, (1, 2e-5))
    if variant == "source2012":  # The signed outputs are normalised, then pooled, then rectified.
        np.testing.assert_allclose(found["conv1"], np.concatenate(maps, -1), rtol=2e-4, atol=1e-3)
        normed = np.concatenate([lrn(y, k, alpha) for y in maps], -1)
        np.testing.assert_allclose(found["norm1"], normed, rtol=2e-4, atol=1e-3)
        return
    maps = [np.maximum(y, 0) for y in maps]
    if variant == "caffenet":
        together = np.asarray(found["pool1"])
    else:
        together = np.concatenate(maps, -1)
        np.testing.assert_allclose(found["conv1"], together, rtol=2e-4, atol=1e-3)
    parts = [together] if variant.startswith("caffe") else np.split(together, 2, -1)
    normed = np.concatenate([lrn(y, k, alpha) for y in parts], -1)
    np.testing.assert_allclose(found["norm1"], normed, rtol=2e-4, atol=1e-3)


def test_initial_weights_and_biases():
    for variant, stds in (("paper", 0.01), ("source2012", 0.03)):
        params = small(variant)[1]["params"]
        np.testing.assert_allclose(params["conv3"]["kernel"].std(), stds, rtol=0.02)
        assert float(params["conv4"]["bias"].min()) == 1.0
        assert float(np.abs(params["conv3"]["bias"]).max()) == 0.0
    params = small("caffe")[1]["params"]
    np.testing.assert_allclose(params["fc6"]["kernel"].std(), 0.005, rtol=0.03)
    np.testing.assert_allclose(params["conv5"]["bias"], 0.1, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mask", "inverted"])
def test_dropout_forms(form):
    model, variables, x = small(dropout=0.25, dropout_form=form)
    key = jax.random.key(3)

    @jax.jit
    def both(v, x):
        train = model.apply(v, x, rngs={"dropout": key}, capture_intermediates=True)[1]
        test = model.apply(v, x, capture_intermediates=True)[1]
        return train["intermediates"], test["intermediates"]

    train, test = both(variables, x)
    clean = jnp.concatenate(train["fc6"]["__call__"][0], -1)
    dropped = jnp.concatenate(train["drop6"]["__call__"][0], -1)
    tested = jnp.concatenate(test["drop6"]["__call__"][0], -1)
    factor = 1.0 if form == "mask" else 1 / 0.75
    kept = dropped != 0
    np.testing.assert_allclose(dropped, jnp.where(kept, factor * clean, 0), rtol=1e-6)
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(tested, clean * (0.75 if form == "mask" else 1.0), rtol=1e-6)


@pytest.mark.slow
def test_a_mask_depends_on_the_position_in_the_batch_alone():
    model, variables, x = small()
    run = jax.jit(lambda x: model.apply(variables, x, rngs={"dropout": jax.random.key(3)}))
    np.testing.assert_allclose(run(x)[:2], run(x[:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_batch_normalisation_uses_the_batch_and_keeps_averages():
    model, variables, x = small("bn")

    @jax.jit
    def train(v, x):
        return model.apply(
            v,
            x,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=True,
        )

    _, changed = train(variables, x)
    maps, normed = (
        [ops.nhwc(y) for y in changed["intermediates"][name]["__call__"][0]]
        for name in ("conv1", "bn1")
    )
    np.testing.assert_allclose(normed[0].mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(normed[0].var((0, 1, 2)), 1, atol=1e-2)
    expected = 0.1 * maps[1].mean((0, 1, 2))
    np.testing.assert_allclose(
        changed["batch_stats"]["bn1"]["mean"][1], expected, rtol=1e-3, atol=1e-4
    )
    assert "bias" not in variables["params"]["conv1"]


@pytest.mark.slow
def test_features_by_the_papers_names():
    model, variables, x = small("owt", size=67)
    found = jax.jit(lambda v, x: features(model, v, x))(variables["params"], x)
    assert found["fc7"].shape == (3, 32)
    assert found["conv1"].shape == (3, 16, 16, 64)
    assert {"pool1", "conv5", "pool5", "fc6", "fc8"} <= set(found)


@pytest.mark.slow
def test_mixed_precision_keeps_parameters_and_logits_in_float32():
    model = alexnet(image_size=64, num_classes=5, dense_width=32, precision="bfloat16")
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    run = jax.jit(
        lambda v, x: model.apply(v, x, mutable="intermediates", capture_intermediates=True)
    )
    logits, state = run(variables, jnp.ones((2, 64, 64, 3)))
    assert logits.dtype == jnp.float32
    assert ops.nhwc(state["intermediates"]["conv3"]["__call__"][0][0]).dtype == jnp.bfloat16


def test_published_counts_stand_beside_ours():
    found = described()
    assert found["published_total_params"] == found["total_params"]
    assert found["published_total_multiply_adds"] == 724_406_816
    assert {layer["name"] for layer in found["layers"] if "published_params" in layer} == set(
        TWO_TOWERS
    )
    assert "published_total_params" not in described(conv6=True)


def test_any_switch_of_a_variant_may_be_changed_on_the_command_line(capsys):
    config = f"--config={ROOT}/configs/alexnet_imagenet.py"
    assert main(["", "info", config, "--config.model.conv6=true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total_params"] == 61_555_304
    assert main(["", "info", config, "--config.model.conv7=true"]) == 2
