"""The dense part of AlexNet: fc6, fc7, fc8."""

import jax
from jaxtyping import Array

from lenet_alexnet.models.alexnet import layers
from lenet_alexnet.models.alexnet.axes import Axes, Towers
from lenet_alexnet.models.alexnet.options import AlexNetOptions
from lenet_alexnet.models.lenet import ACTIVATIONS


def dense_part(
    net: AlexNetOptions, flat: Array, key: Array | None, position: Array | None
) -> Array:
    """fc6 to fc8, with dropout if there is a key; called inside the network's `__call__`.

    Args:
      net: the network, for its options and axes.
      flat: fc6's inputs [b, n].
      key: of dropout.
      position: of the images in the batch, if they are not in order.
    """
    flat = net.axes.gather_batch(flat)
    late = net.dropout_place == "after"  # torchvision drops the inputs of fc6 and fc7
    if not late:
        axes = Axes() if net.axes.dense else net.axes
        flat = _drop(net, 6, [flat], axes, key, position)[0]
    y = _dense(net, 6, flat)  # fc6: 4096
    y = _drop(net, 6 if late else 7, y, net.axes, key, position)
    y = _dense(net, 7, net.axes.meet_units(net.axes.gather_units(y)))  # fc7: 4096
    if late:
        y = _drop(net, 7, y, net.axes, key, position)
    output = layers.Output(
        features=net.num_classes,
        std=net.stds[7],
        bias=net.biases[7],
        axes=net.axes,
        dtype=net.dtype,
        name="fc8",
    )
    return output(y)  # fc8: 1000


def _dense(net: AlexNetOptions, n: int, x: Array) -> Towers:
    dense = layers.Dense(
        features=net.dense_width,
        towers=net.towers,
        std=net.stds[n - 1],
        bias=net.biases[n - 1],
        activation=ACTIVATIONS[net.activation],
        axes=net.axes,
        dtype=net.dtype,
        form=net.conv_form,
        name=f"fc{n}",
    )
    return dense(x)


def _drop(
    net: AlexNetOptions, n: int, x: Towers, axes: Axes, key: Array | None, position: Array | None
) -> Towers:
    dropout = layers.Dropout(rate=net.dropout, form=net.dropout_form, axes=axes, name=f"drop{n}")
    return dropout(x, None if key is None else jax.random.fold_in(key, n), position)
