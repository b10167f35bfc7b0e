"""The loops in C++ and their maps, against the plain forms."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError
from lenet_alexnet.ops import cpu
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.ops.layouts import Folded, Vectors
from tests.helpers.arrays import assert_close, numbers
from tests.helpers.compiler import needs_compiler
from tests.helpers.processes import start

SHAPES = [  # batch, height, width, channels, filters, size, zeros beyond every edge
    (32, 32, 32, 1, 6, 5, 0),  # C1
    (37, 14, 14, 6, 16, 5, 0),  # C3, the last block not full
    (1, 5, 6, 2, 1, 5, 0),
    (16, 9, 7, 3, 13, 3, 0),  # groups of filters of different sizes
    (33, 12, 11, 7, 5, 7, 0),  # more taps than are summed at once
    (2, 6, 6, 1, 2, 1, 0),
    (17, 12, 12, 3, 32, 5, 2),  # conv1 for CIFAR-10, of smaller images
]
POOLS = [  # batch, height, width, channels, size, stride, ceil
    (33, 12, 12, 3, 3, 2, True),
    (16, 12, 9, 2, 3, 2, False),
    (5, 13, 7, 1, 3, 2, True),
    (16, 7, 7, 4, 2, 2, True),
    (16, 7, 7, 4, 2, 2, False),
    (16, 8, 8, 1, 4, 1, True),
    (16, 8, 8, 2, 2, 3, False),  # stride > size
]


@needs_compiler
@pytest.mark.parametrize(
    ("batch", "height", "width", "channels", "filters", "size", "zeros"), SHAPES
)
def test_equals_the_plain_form(rng, batch, height, width, channels, filters, size, zeros):
    """Values and gradients of images, kernel and bias are within 1e-5 of the largest."""
    x = numbers(rng, batch, height, width, channels)
    kernel, bias = numbers(rng, size, size, channels, filters), numbers(rng, filters)

    def value_and_gradients(form):
        def conv(x, kernel, bias):
            padding = ((zeros, zeros), (zeros, zeros))
            return ops.nhwc(ops.conv2d(x, kernel, form, bias=bias, padding=padding))

        out, gradients = jax.vjp(conv, x, kernel, bias)
        return out, gradients(jax.random.normal(jax.random.key(0), out.shape))

    run = jax.jit(value_and_gradients, static_argnums=0)
    assert_close(run("native"), run("plain"))


@needs_compiler
@pytest.mark.parametrize(("batch", "height", "width", "channels", "size", "stride", "ceil"), POOLS)
@pytest.mark.parametrize("many_equal", [False, True])
def test_max_pool_equals_the_plain_form(
    rng, batch, height, width, channels, size, stride, ceil, many_equal
):
    """Values to the bit, and gradients, which go to the first of equal maxima."""
    native.require()
    x = numbers(rng, batch, height, width, channels)
    x = jnp.round(x) if many_equal else x
    pool = partial(ops.max_pool, size=size, stride=stride, ceil=ceil, form="auto")

    def value_and_gradients(order):
        out, gradients = jax.vjp(lambda x: ops.nhwc(pool(order(x))), x)
        return out, gradients(jax.random.normal(jax.random.key(0), out.shape))

    found, expected = (jax.jit(partial(value_and_gradients, f))() for f in (Vectors.of, ops.nhwc))
    np.testing.assert_array_equal(found[0], expected[0])
    assert_close(found, expected)


def test_a_window_beyond_the_edge_is_left_to_the_plain_form(rng):
    """With stride > size and `ceil` there can be one; the loops would read beyond the maps."""
    x = numbers(rng, 16, 6, 6, 2)
    pool = partial(ops.max_pool, size=2, stride=3, ceil=True)
    np.testing.assert_array_equal(pool(Vectors.of(x)), pool(x))


@needs_compiler
def test_max_pool_keeps_nan():
    """A diverged run must be noticed: the largest with a NaN is NaN, wherever it stands."""
    native.require()
    x = jnp.zeros((16, 4, 4, 2)).at[3, 1, 2, 0].set(jnp.nan).at[5, 0, 0, 1].set(jnp.nan)
    found = ops.max_pool(Vectors.of(x), size=2, stride=2).nhwc()
    assert jnp.argwhere(jnp.isnan(found)).tolist() == [[3, 0, 1, 0], [5, 0, 0, 1]]


@needs_compiler
def test_the_first_layers_of_a_network_for_photos_stay_in_the_order(rng):
    """Padded convolution, activation, pooling and convolution, as in `CudaConvNet`."""
    x, weight = numbers(rng, 21, 13, 12, 3), numbers(rng, 21, 4, 3, 4)
    kernels, bias = (numbers(rng, 5, 5, 3, 6), numbers(rng, 5, 5, 6, 4)), numbers(rng, 6)
    two = ((2, 2), (2, 2))

    def layers(form, pool, kernels, bias):
        first = ops.conv_bias(x, kernels[0], bias, jnp.tanh, form, padding=two)
        if pool == "max":
            pooled = ops.max_pool(first, size=3, stride=2, ceil=True, form=form)
        else:
            pooled = ops.overlapping_average_pool(first, size=3, stride=2)
        active = ops.activate(pooled, jax.nn.relu)
        assert isinstance(active, Vectors) == (form == "auto")
        second = ops.conv2d(active, kernels[1], form, padding=two)
        return ops.nhwc(ops.average_pool(ops.activate(second, jnp.tanh), 1))[:, 1:5, 1:4]

    def value_and_gradients(form, pool):
        out, gradients = jax.vjp(partial(layers, form, pool), kernels, bias)
        return out, gradients(weight)

    run = jax.jit(value_and_gradients, static_argnums=(0, 1))
    for pool in ("max", "average"):
        assert_close(run("auto", pool), run("plain", pool))


@needs_compiler
@pytest.mark.parametrize(
    ("batch", "kernel", "stride", "padding", "form"),
    [
        (128, (5, 5, 3, 64), 1, 2, "native"),  # conv1 of the networks for CIFAR-10
        (128, (5, 5, 32, 32), 1, 2, "winograd"),  # conv2
        (128, (5, 5, 6, 16), 1, 0, "native"),  # C3
        (8, (5, 5, 6, 16), 1, 0, "block"),  # too few images for the vectors
        (8, (5, 5, 3, 64), 1, 2, "winograd"),
        (128, (11, 11, 3, 96), 4, 0, "winograd"),  # AlexNet's conv1
    ],
)
def test_the_form_that_auto_takes(batch, kernel, stride, padding, form):
    """The choice that `ops.conv2d` describes."""
    zeros = ((padding, padding), (padding, padding))
    shape = (batch, 32, 32, kernel[2])
    assert cpu.fastest_form(shape, jnp.zeros(kernel), stride, zeros) == form


@pytest.mark.parametrize("batch", [1, 16, 21])
def test_the_order_of_maps_and_back(rng, batch):
    x = numbers(rng, batch, 4, 6, 3)
    maps = Vectors.of(x)
    assert maps.shape == x.shape
    assert maps.data.shape == (-(-batch // 16), 3, 4, 6, 16)
    np.testing.assert_array_equal(maps.nhwc(), x)
    np.testing.assert_array_equal(maps.data[0, 2, 1, 5, 0], x[0, 1, 5, 2])


@needs_compiler
def test_under_vmap_and_scan(rng):
    x, kernels = numbers(rng, 3, 20, 12, 12, 6), numbers(rng, 3, 5, 5, 6, 3)

    def value_and_gradients(form, x, kernel):
        out, gradients = jax.vjp(lambda x, k: ops.nhwc(ops.conv2d(x, k, form)), x, kernel)
        return out, gradients(jnp.cos(out))

    one = partial(value_and_gradients, "native")
    together = jax.jit(jax.vmap(one))(x, kernels)
    _, in_turn = jax.jit(lambda *a: jax.lax.scan(lambda c, a: (c, one(*a)), 0, a))(x, kernels)
    alone = jax.jit(jax.vmap(partial(value_and_gradients, "plain")))(x, kernels)
    assert_close(together, alone)
    assert_close(in_turn, alone)


@needs_compiler
def test_in_bfloat16(rng):
    x, kernel = numbers(rng, 17, 14, 14, 6), numbers(rng, 5, 5, 6, 4)
    halves = jax.jit(partial(ops.conv2d, form="native"))(*map(jnp.bfloat16, (x, kernel)))
    found, expected = ops.nhwc(halves), ops.conv2d(x, kernel, "plain")
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * float(jnp.abs(expected).max()))


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from functools import partial
from jax.sharding import PartitionSpec as P
from lenet_alexnet import ops
rng = np.random.default_rng(0)
x, kernel = rng.normal(size=(64, 12, 12, 6)).astype("f"), rng.normal(size=(5, 5, 6, 4)).astype("f")
def conv(form, x, kernel):
    return ops.nhwc(ops.max_pool(ops.conv2d(x, kernel, form), size=3, stride=2))
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
specs = {"in_specs": (P("data"), P()), "out_specs": P("data")}
own = jax.shard_map(partial(conv, "native"), mesh=mesh, **specs)
def value_and_gradients(f):
    out, gradients = jax.vjp(f, x, kernel)
    return out, *gradients(jnp.cos(out))
found = jax.jit(lambda: value_and_gradients(own))()
expected = jax.jit(lambda: value_and_gradients(partial(conv, "plain")))()
for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))
print(found[0].sharding.spec)
"""


@needs_compiler
def test_inside_shard_map(tmp_path):
    """Each device has its own images and the same weights."""
    (tmp_path / "sharded.py").write_text(SHARDED)
    process = start([str(tmp_path / "sharded.py")], 2)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out.split("\n")[0]) == (0, "P('data',)"), err


BITS = """
import os, sys
if sys.argv[1] == "one": os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import hashlib, jax, jax.numpy as jnp, numpy as np
from lenet_alexnet import ops
rng = np.random.default_rng(0)
x, kernel, bias = (rng.normal(size=s).astype("f") for s in ((600, 14, 14, 6), (5, 5, 6, 16), (16,)))
def conv(x, kernel, bias):
    maps = ops.conv2d(x, kernel, "native", bias=bias)
    return ops.nhwc(ops.max_pool(maps, size=3, stride=2))
def gradients(*arguments):
    out, back = jax.vjp(conv, *arguments)
    return out, back(out)
run = jax.jit(gradients)
for _ in range(20 if sys.argv[1] == "all" else 1):
    found = b"".join(np.asarray(a).tobytes() for a in jax.tree.leaves(run(x, kernel, bias)))
    print(hashlib.sha256(found).hexdigest())
"""


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.slow
def test_the_same_bits_however_many_threads_share_the_work():
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    prints = [
        line
        for cores in ("one", "all")
        for line in run([sys.executable, "-c", BITS, cores]).stdout.split()
    ]
    assert len(prints) == 21
    assert len(set(prints)) == 1


@needs_compiler
def test_enough_images_in_a_batch_take_the_loops(rng):
    kernel = numbers(rng, 5, 5, 1, 6)
    assert isinstance(ops.conv2d(numbers(rng, 16, 9, 9, 1), kernel, "auto"), Vectors)
    assert isinstance(ops.conv2d(numbers(rng, 1, 9, 9, 1), kernel, "auto"), Folded)


def test_without_a_compiler_there_is_another_form(rng, monkeypatch):
    monkeypatch.setattr(native, "ensure_compiled", lambda: "no C++ compiler was found")
    x, kernel = numbers(rng, 16, 9, 9, 1), numbers(rng, 5, 5, 1, 6)
    assert isinstance(ops.conv2d(x, kernel, "auto"), Folded)
    with pytest.raises(UsageError, match="'native' is not available here: no C"):
        ops.conv2d(x, kernel, "native")
