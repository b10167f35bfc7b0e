"""AlexNet as loops in numpy, one image at a time, and parameters that make its norms matter."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def naive_conv(x, kernel, bias, stride, before, after):
    k = kernel.shape[0]
    x = np.pad(x, ((before, after), (before, after), (0, 0)))
    n = (x.shape[0] - k) // stride + 1
    out = np.zeros((n, n, kernel.shape[-1]))
    for i, j in np.ndindex(n, n):
        out[i, j] = np.tensordot(x[i * stride :, j * stride :][:k, :k], kernel, 3) + bias
    return out


def naive_pool(x, size):
    starts = 2 * np.arange(-(-(x.shape[0] - size) // 2) + 1)
    return np.array([[x[i:, j:][:size, :size].max((0, 1)) for j in starts] for i in starts])


def naive_lrn(x, k, alpha):
    sums = [(x[..., max(0, i - 2) : i + 3] ** 2).sum(-1) for i in range(x.shape[-1])]
    return x / (k + alpha * np.stack(sums, -1)) ** 0.75


def naive_spatial(x):
    out = np.zeros_like(x)
    for i, j in np.ndindex(*x.shape[:2]):
        near = x[max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
        out[i, j] = x[i, j] / (1 + 0.001 / 25 * (near**2).sum((0, 1))) ** 0.75
    return out


def relu(x):
    return np.maximum(x, 0)


BLOCKS = {  # The operations after conv1 and after conv2, on one tower's maps; "p" is pooling.
    "paper": ([relu, partial(naive_lrn, k=2, alpha=1e-4), "p"],) * 2,
    "source2012": (
        [partial(naive_lrn, k=2, alpha=2e-5), "p", relu],
        [relu, partial(naive_lrn, k=2, alpha=2e-5), naive_spatial, "p"],
    ),
    "caffe": ([relu, partial(naive_lrn, k=1, alpha=2e-5), "p"],) * 2,
    "caffenet": ([relu, "p", partial(naive_lrn, k=1, alpha=2e-5)],) * 2,
    "single": ([relu, partial(naive_lrn, k=2, alpha=1e-4), "p"],) * 2,
    "owt": ([relu, "p"],) * 2,
}


def naive_net(params, x, variant, pool=3, keep=1.0):
    """Logits of one image [h, w, c], by the table of the layers."""
    towers = params["conv1"]["bias"].shape[0]
    across = variant.startswith("caffe")
    over = -(x.shape[0] - 11) % 4

    def conv(name, xs, stride, before, after):
        kernels, biases = params[name]["kernel"], params[name]["bias"]
        layers = zip(xs, kernels, biases, strict=True)
        return [naive_conv(x, k, b, stride, before, after) for x, k, b in layers]

    def follow(steps, xs):
        for step in steps:
            whole = across and isinstance(step, partial)
            xs = [np.concatenate(xs, -1)] if whole else xs
            xs = [naive_pool(x, pool) if step == "p" else step(x) for x in xs]
            xs = np.split(xs[0], towers, -1) if whole else xs
        return xs

    xs = conv("conv1", [x] * towers, 4, *((2, 2) if variant == "owt" else (0, over)))
    xs = follow(BLOCKS[variant][0], xs)
    xs = follow(BLOCKS[variant][1], conv("conv2", xs, 1, *(2 * [2 if pool == 3 else 1])))
    xs = follow([relu], conv("conv3", [np.concatenate(xs, -1)] * towers, 1, 1, 1))
    xs = follow([relu], conv("conv4", xs, 1, 1, 1))
    xs = follow([relu, "p"], conv("conv5", xs, 1, *(2 * [1 if pool == 3 else 0])))
    if "conv6" in params:
        xs = follow([relu], conv("conv6", [np.concatenate(xs, -1)] * towers, 1, 1, 1))
    h = np.concatenate(xs, -1).reshape(-1)
    for name in ("fc6", "fc7"):
        layer = params[name]
        h = keep * relu(np.concatenate(h @ layer["kernel"] + layer["bias"]))
    return h @ params["fc8"]["kernel"].reshape(64, -1) + params["fc8"]["bias"]


def random_params(model, rng):
    """Weights so large that the response norms matter, and biases of both signs."""
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, *model.input_shape)))
    )

    def draw(path, leaf):
        scale = {"kernel": 1.5 / np.prod(leaf.shape[1:-1]) ** 0.5, "bias": 5.0}[path[-1].key]
        return scale * rng.standard_normal(leaf.shape, np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes["params"])
