"""PyTorch in bench: the same network, its forms, and its turns."""

import jax
import numpy as np
import pytest

from lenet_alexnet.models import create_model

ALEXNET = {"name": "alexnet", "num_classes": 7, "image_size": 70, "dropout": 0.0}


def put(net, ours):
    """Our parameters into a PyTorch network, layer by layer, in the papers' order."""
    torch = pytest.importorskip("torch")
    layers = [layer for layer in net.modules() if hasattr(layer, "weight")]
    assert len(layers) == len(ours)
    seen = None
    for layer, (kernel, bias) in zip(layers, ours, strict=True):
        if layer.weight.ndim == 1:  # batch normalisation
            weight = kernel.reshape(-1)
        elif layer.weight.ndim == 4:
            kernel = kernel[None] if kernel.ndim == 4 else kernel  # [tower, h, w, c, f]
            weight = kernel.transpose(0, 4, 3, 1, 2).reshape(layer.weight.shape)
            seen = layer.weight.shape[0]
        elif layer.weight.ndim == 3:  # Ours: [y, x, 3, 3, c, f]; by map, then by place there.
            weight = kernel.transpose(0, 1, 4, 2, 3, 5).reshape(layer.weight.shape)
            bias, seen = bias.transpose(2, 0, 1), layer.weight.shape[2]
        else:
            if kernel.ndim == 3 and kernel.shape[0] * kernel.shape[1] == layer.in_features:
                kernel = kernel.reshape(layer.in_features, -1)  # fc8: by the towers' inputs
            elif kernel.ndim == 3:
                kernel = np.concatenate(list(kernel), axis=-1)  # by the towers' units
            if seen:  # The first dense layer's inputs: by row, column, map; PyTorch's maps first.
                side = round((layer.in_features / seen) ** 0.5)
                kernel = kernel.reshape(side, side, seen, -1).transpose(2, 0, 1, 3)
                seen = None
            weight = kernel.reshape(layer.in_features, -1).T
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight.copy()))
            if bias is not None:
                layer.bias.copy_(torch.tensor(bias.reshape(layer.bias.shape).copy()))


def place(name):
    """C1 .. F6, output; convolutions, each before its bn, local layers; fc6 .. fc8; fc64, fc10."""
    kind = name.startswith("bn")
    return name == "fc10", name.startswith("fc"), name.replace("bn", "conv"), kind


def leaves(params):
    """A layer's kernel (or scale) and its bias, if it has one."""
    return params.get("kernel", params.get("scale")), params.get("bias")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"name": "lenet5", "activation": "relu"}, 61_706),
        (ALEXNET, 20_196_743),
        (ALEXNET | {"variant": "source2012"}, 20_196_743),
        (ALEXNET | {"variant": "caffe"}, 20_196_743),
        (ALEXNET | {"variant": "caffenet"}, 20_196_743),
        (ALEXNET | {"variant": "single"}, 21_609_863),
        (ALEXNET | {"variant": "owt"}, 20_332_359),
        (ALEXNET | {"variant": "bn"}, 20_198_119),
        (ALEXNET | {"variant": "half"}, 19_029_831),
        ({"name": "cuda_convnet", "variant": "80sec"}, 145_578),
        ({"name": "cuda_convnet", "variant": "19pct"}, 89_578),
        ({"name": "cuda_convnet", "variant": "18pct"}, 89_578),
        ({"name": "cuda_convnet", "variant": "13pct"}, 1_116_490),
        ({"name": "cuda_convnet", "variant": "11pct"}, 2_112_970),
    ],
)
def test_the_peer_is_the_same_network(rng, options, count):
    torch = pytest.importorskip("torch")
    from lenet_alexnet.bench import peer_torch

    model = create_model(**options)
    x = rng.normal(size=(2, *model.input_shape)).astype(np.float32)
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0), x))
    params = variables["params"]
    # Larger weights than the paper's, so that the biases do not dominate.
    params = jax.tree.map(
        lambda p: rng.normal(0, (2 / p[0].size * p.shape[-1]) ** 0.5, p.shape).astype(np.float32),
        params,
    )
    net = peer_torch.create(model).eval()
    assert sum(p.numel() for p in net.parameters()) == count
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    put(net, [leaves(params[name]) for name in sorted(params, key=place)])
    expected = jax.jit(model.apply)({**variables, "params": params}, x)
    with torch.no_grad():
        found = net(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_peers_forms():
    pytest.importorskip("torch")
    from lenet_alexnet.bench.peer_torch import forms

    names = [form.name for form in forms(gpu=True)]
    assert names[:4] == [form.name for form in forms(gpu=False)]
    assert names[0] == "PyTorch eager"
    assert names[5] == "PyTorch compiled, max-autotune, channels_last"
