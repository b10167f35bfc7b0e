"""The networks of cuda-convnet as loops in numpy, one image at a time."""

import numpy as np

from tests.helpers.naive_alexnet import naive_conv, naive_pool, relu


def naive_average(x, size=3):
    starts = 2 * np.arange(-(-(x.shape[0] - size) // 2) + 1)
    return np.array([[x[i : i + size, j : j + size].mean((0, 1)) for j in starts] for i in starts])


def naive_within(x):
    out = np.zeros_like(x)
    for i, j in np.ndindex(*x.shape[:2]):
        near = x[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        out[i, j] = x[i, j] / (1 + 5e-5 / 9 * (near**2).sum((0, 1))) ** 0.75
    return out


def naive_across(x):
    sums = [(x[..., max(0, i - 4) : i + 5] ** 2).sum(-1) for i in range(x.shape[-1])]
    return x / (1 + 0.001 / 9 * np.stack(sums, -1)) ** 0.75


def naive_local(x, kernel, bias):
    x = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros(bias.shape)
    for i, j in np.ndindex(*bias.shape[:2]):
        out[i, j] = np.tensordot(x[i : i + 3, j : j + 3], kernel[i, j], 3) + bias[i, j]
    return out


def max_pool(x):
    return naive_pool(x, 3)


# The operations after each convolution and its ReLU.
BLOCKS = {
    "80sec": ([max_pool], [naive_average], [naive_average]),
    "19pct": ([max_pool], [naive_average], [naive_average]),
    "18pct": ([max_pool, naive_within], [naive_average, naive_within], [naive_average]),
    "13pct": ([max_pool], [max_pool]),
    "11pct": ([max_pool, naive_across], [naive_across, max_pool]),
    # Not published: the windows of 2x2, and a convolution without pooling.
    "plain pools": ([lambda x: naive_pool(x, 2)], [lambda x: naive_average(x, 2)], []),
}


def naive_net(params, x, blocks):
    """Logits of one image [h, w, c]; `blocks`: a key of `BLOCKS`."""
    for n, block in enumerate(BLOCKS[blocks], 1):
        layer = params[f"conv{n}"]
        x = relu(naive_conv(x, layer["kernel"][0], layer["bias"][0], 1, 2, 2))
        for step in block:
            x = step(x)
    for name in ("local3", "local4"):
        if name in params:
            x = relu(naive_local(x, params[name]["kernel"], params[name]["bias"]))
    x = x.reshape(-1)
    if "fc64" in params:
        x = relu(x @ params["fc64"]["kernel"][0] + params["fc64"]["bias"][0])
    return x @ params["fc10"]["kernel"][0] + params["fc10"]["bias"]
