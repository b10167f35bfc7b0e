"""The networks in ordinary JAX code: every kind of derivative, and export."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import lenet_alexnet
from lenet_alexnet import config as configs
from lenet_alexnet import create_model, load, preprocess
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.errors import UsageError
from lenet_alexnet.models.alexnet.variants import VARIANTS
from lenet_alexnet.training.builders import build_model
from tests.helpers import ROOT

SMALL = {"name": "alexnet", "image_size": 67, "num_classes": 4, "dense_width": 8}
WIDTHS = {"widths": (4, 8, 8, 8, 4)}
MODELS = {
    "lenet5": {"name": "lenet5"},
    "lenet5_1998": {"name": "lenet5_1998"},
    "lenet1": {"name": "lenet1"},
    "mlp_1998": {"name": "mlp_1998", "hidden": (6,)},
    "convnet": {"name": "convnet", "dense_width": 8, "response_norm": 1e-2, "pooling": "3/2"},
    "cuda_convnet": {
        "name": "cuda_convnet",
        "variant": "11pct",
        "image_size": 9,
        "widths": (4, 4),
        "local_widths": (3, 2),
        "stds": (None,) * 5,
    },
    **{name: {**SMALL, **WIDTHS, "variant": name, "stds": (None,) * 8} for name in VARIANTS},
}


@functools.cache
def network(name):
    """Outputs as a function of (variables, images), variables, two images."""
    model = create_model(**MODELS[name])
    x = jax.random.normal(jax.random.key(1), (2, *model.input_shape))
    rng = np.random.default_rng(0)  # Compiling the initial values takes longer than the tests.

    def numbers(leaf):
        values = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) or 1)
        return jnp.asarray(values, jnp.float32)

    variables = jax.tree.map(numbers, jax.eval_shape(model.init, jax.random.key(0), x))
    stats = (
        {"batch_stats": jax.tree.map(lambda s: 1 + abs(s), variables["batch_stats"])}
        if ("batch_stats" in variables)
        else {}
    )
    return model.apply, {**variables, **stats}, x


# Without operations that the others lack; source2012 has one, and takes the longest.
SLOW = {"paper", "caffenet", "single", "owt", "half", "source2012"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MODELS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_forward_mode_agrees_with_reverse_mode_and_hessians_have_products(name):
    apply, variables, x = network(name)
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}

    def random(p):
        return jax.random.normal(jax.random.key(p.size), (2, *p.shape))

    directions = jax.tree.map(random, params)

    def outputs(params):
        return apply({"params": params, **rest}, x)

    def gradient(params):
        out, back = jax.vjp(outputs, params)
        return back(out)[0]

    def dot(a, b):
        return sum(jnp.vdot(p, q) for p, q in zip(*map(jax.tree.leaves, (a, b)), strict=True))

    @jax.jit
    def products():
        first, second = (jax.tree.map(lambda p, i=i: p[i], directions) for i in (0, 1))
        out, tangent = jax.jvp(outputs, (params,), (first,))
        hessian = jax.vmap(lambda v: jax.jvp(gradient, (params,), (v,)))  # of half the square
        gradients, of = hessian(directions)
        of_first, of_second = (jax.tree.map(lambda p, i=i: p[i], of) for i in (0, 1))
        back = dot(jax.tree.map(lambda p: p[0], gradients), first)
        return jnp.vdot(out, tangent), back, dot(of_first, second), dot(of_second, first)

    forward, reverse, one, two = map(float, products())
    assert forward == pytest.approx(reverse, rel=1e-4)
    assert one == pytest.approx(two, rel=1e-3)  # The Hessian is symmetric.
    assert abs(one) > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_export_of_a_fixed_and_of_any_batch(name):
    apply, variables, x = network(name)
    expected = jax.jit(apply)(variables, x)
    for batch in ("2", "b"):
        shape = export.symbolic_shape(f"{batch}, {', '.join(map(str, x.shape[1:]))}")
        arguments = variables, jax.ShapeDtypeStruct(shape, x.dtype)
        # Not through a file: for that JAX needs a package (flatbuffers) that nothing else needs.
        found = export.export(jax.jit(apply))(*arguments).call(variables, x)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet5", "paper"])
@pytest.mark.slow
def test_forward_mode_and_export_of_the_fast_forms_name_the_plain_one(name):
    model = create_model(**MODELS[name], conv_form="block" if name == "lenet5" else "auto")
    _, variables, x = network(name)

    def outputs(x):
        return model.apply(variables, x)

    words = "model.conv_form"
    for derivative in (jax.jvp, jax.jit(jax.jvp, static_argnums=0)):
        with pytest.raises(UsageError, match=f"forward-mode.*{words}"):
            derivative(outputs, (x,), (x,))
    with pytest.raises(UsageError, match=f"exported.*{words}"):
        export.export(jax.jit(outputs))(x)
    any_batch = jax.ShapeDtypeStruct((*export.symbolic_shape("b"), *x.shape[1:]), x.dtype)
    with pytest.raises(UsageError, match=f"symbolic.*{words}"):
        export.export(jax.jit(outputs))(any_batch)
    gradient = jax.jit(jax.grad(lambda x: (outputs(x) ** 2).sum()))(x)
    plain = network(name)[0]
    expected = jax.jit(jax.grad(lambda x: (plain(variables, x) ** 2).sum()))(x)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * float(abs(expected).max()))


def test_only_configs_ask_for_the_fast_forms():
    config = configs.load(str(ROOT / "configs" / "lenet5_quickstart.py")).get_config()
    assert create_model(**config.model).conv_form == "plain"
    assert build_model(config).conv_form == "auto"
    with config.unlocked():
        config.model.conv_form = "block"
    assert build_model(config).conv_form == "block"


def test_the_import_of_the_package_loads_nothing_else():
    code = "import lenet_alexnet, sys; print(*(m for m in sys.modules if '.' not in m))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "flax", "numpy", "ml_collections"} & set(found.stdout.split())
    for name in lenet_alexnet.__all__:
        assert getattr(lenet_alexnet, name)
    assert set(lenet_alexnet.__all__) <= set(dir(lenet_alexnet))
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        lenet_alexnet.laod  # noqa: B018
    types = (ROOT / "lenet_alexnet" / "__init__.pyi").read_text()
    for name in set(lenet_alexnet.__all__) - {"__version__"}:
        assert f"import {name} as {name}\n" in types


@pytest.fixture(scope="module")
def trained():
    """A network of the package, and four digits 0..255, as floats, with their classes."""
    digits = embedded.read("test")
    return load("lenet5_quickstart"), jnp.asarray(digits.images[:4], jnp.float32), digits.labels[:4]


def test_a_loaded_network_is_a_function_of_images(trained):
    net, images, labels = trained
    assert net.class_names == tuple("0123456789")
    assert (net(images).argmax(1) != labels).sum() <= 1
    np.testing.assert_array_equal(
        net.model.apply(net.variables, net.preprocess(images)), net(images)
    )
    found = net.features(images, ["C3", "F6"])
    assert {name: value.shape for name, value in found.items()} == {
        "C3": (4, 10, 10, 16),
        "F6": (4, 84),
    }
    np.testing.assert_allclose(jax.jit(net)(images), net(images), rtol=1e-4, atol=1e-4)
    one_by_one = jax.vmap(lambda image: net(image[None])[0])(images)
    np.testing.assert_allclose(one_by_one, net(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lenet5_quickstart", "lenet5_1998"])
def test_a_loaded_network_has_every_kind_of_derivative(name, trained):
    net, (_, images, _) = load(name), trained
    image, direction = images[:1], jnp.ones_like(images[:1])

    @jax.jit
    def derivatives(image):
        gradient = jax.grad(lambda x: net(x)[0, 3])(image)
        _, along = jax.jvp(lambda x: net(x)[0, 3], (image,), (direction,))
        corner = jax.hessian(lambda p: net(image.at[0, 14:16, 14, 0].set(p))[0, 3])(
            image[0, 14:16, 14, 0]
        )
        return (gradient * direction).sum(), along, corner

    reverse, forward, corner = derivatives(image)
    assert float(reverse) == pytest.approx(float(forward), rel=1e-3)
    np.testing.assert_allclose(corner, corner.T, rtol=1e-3, atol=1e-8)
    assert abs(corner).max() > 0


def test_a_loaded_network_is_exported_whole(trained):
    net, images, _ = trained
    (batch,) = export.symbolic_shape("b")
    given = jax.ShapeDtypeStruct((batch, 28, 28, 1), jnp.uint8)
    found = export.export(jax.jit(net))(given).call(images.astype(jnp.uint8))
    np.testing.assert_allclose(found, net(images), rtol=1e-4, atol=1e-4)


def test_images_of_another_shape_and_unknown_layers_are_refused(trained):
    net, images, _ = trained
    with pytest.raises(UsageError, match=r"the network takes \[n, 28, 28, 1\]"):
        net(images[..., 0])
    with pytest.raises(UsageError, match="unknown layer 'C33': did you mean 'C3'"):
        net.features(images, ["C33"])
    with pytest.raises(UsageError, match="only a run can need a model"):
        load("lenet5_quickstart", model=net.model)


def test_preprocess_needs_no_config(trained):
    net, images, _ = trained
    np.testing.assert_array_equal(preprocess(images), net.preprocess(images))
    photos = np.full((2, 8, 8, 3), 100, np.uint8)
    found = preprocess(photos, crop=6, mean="given", colour_mean=(90.0, 80.0, 70.0), std=10.0)
    assert found.shape == (2, 6, 6, 3)
    np.testing.assert_allclose(found[0, 0, 0], [1, 2, 3])
    with pytest.raises(UsageError, match="no option 'men': did you mean 'mean'"):
        preprocess(images, men=0.1)
    with pytest.raises(UsageError, match="statistics"):
        preprocess(photos, crop=6)
