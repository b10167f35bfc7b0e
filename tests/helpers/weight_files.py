"""Files of weights for tests, written without the code that reads them, and small networks."""

import base64
import io
import struct
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.exchange import recipe, run_folder
from lenet_alexnet.models import create_model
from tests.helpers import naive_alexnet

SIDE = 131  # of the smallest inputs that leave fc6 more than one row of maps
SMALL = {"widths": (4, 8, 6, 8, 6), "dense_width": 10, "num_classes": 5, "image_size": SIDE}
STYLED = ("paper", "source2012", "caffe", "caffenet", "single", "owt", "half")  # not bn

# Written by torch 2.13 (torch.save, then compressed): whole [[0..3], [4..7], [8..11]] with its
# transposed and its row 1, which share one storage; half, brain (bfloat16), count, a parameter.
BY_TORCH = """
eNoL8GZmEWFgYOAAYkUGqey24BmMDAwNTAwMAkCRxKLkjMyyVP2UxJJEvYLsnNJLt/MvG4iwfVjiKWn8uC49hu3xpaKX
1/J4jsVmOHm4OX2O+xSWunKmcuuO+cWH5ql9vHToX7ZMdYiUkH/Yms9/i85NrN/GJ1AyqUyA5beXuFCi262UVeZrNPW1
zEyKtp/rvjghJTLT+I9hQkap1ck5vCHbjO5O7qhpqdUq8bL+N0nRzyl6c1eZ0E1j6esWB8U5im/bPBDsX25xMlnOz7B+
RuoujRS3nXra3672LJm4eK2NMts1UQvXCAGLuQarJ3iezlqjbXlIMvV2wMSu0GjLHznMx21mPZLhl/7/Z2HWJ3EOcVa9
nXo9944/rW8O35arM++BFr/6jmfO1znNWcQm32gLiao57DvfataXzXtn8Vad5r11PPf0Vo7yWXZRwjqmd2LP31XW4b5T
nn3PNDPu0UHD94ujY+uT0+xKnjH077lZmLZ57bq5Z+X69/5u+RDyYGaxcez0lnuG37v1vqc96zK+viHr7IQL29O2v57L
mOibYDtzO+vjK0vuq3o2P/9fybWZq613/+mSb1ZxP+ri5d4mbL55UPt///UWc6b8+t395fs/xD1wvvubOQAlFlttH0uC
WGxALIgUi0mVJan5RSmpRadP6mie9GRlQNVWUZtmpwRkGQAxH1rk6xskJzA0slUrPGRwcbjDcIS74QeDgD1DEps7Gxuj
QhhDErM7mmlmV69OATmABZtphskbki0Y0HSoFF/rwKnDKHlDeQG6joJrz/NZoTwMHcbJ6Q3oGiYEsl3lwKXBJDkhY0M6
QxKanovz0kNBTgJmCQZ+JD1lqUXFmfl5xs+YgBoYmUSYcWcjGGhgZMCSqdB1o0cfQvcxRiyRia4dPRoR2v8yokcqul70
SEPo9WZCj0J0vejRh9Bbi67XCF0vekQi9K5H12uMrhc9ThF6H6DrNUHXix63CL0izBgxHeDNCvIfUCsHwzNgULoyg3gA
5Q5wMg==
"""


def by_torch():
    """The content of a small .pth file that torch wrote."""
    return zlib.decompress(base64.b64decode(BY_TORCH))


def network(variant="paper", **options):
    """A small AlexNet and random variables, in numpy."""
    model = create_model(name="alexnet", variant=variant, **(SMALL | options))
    image = jnp.zeros((1, *model.input_shape))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    rng = np.random.default_rng(1)

    def draw(leaf):
        values = rng.standard_normal(leaf.shape, np.float32)
        fan_in = np.prod(leaf.shape[1:-1], dtype=np.float32)
        return values / np.sqrt(fan_in) if len(leaf.shape) > 2 else np.float32(0.2) * values

    variables = jax.tree.map(draw, shapes)
    if "batch_stats" in variables:
        variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    return model, variables


def save_run(folder, variables, model, *, digits=False, statistics=None, photo=None, **data):
    """A run of these variables, as `convert` writes it.

    `model` and `data` are entries of the config's sections.
    """
    config = configs.base() if digits else configs.photos()
    with config.unlocked():
        config.model = dict(model)
        config.optimizer = {"name": "sgd", "learning_rate": 0.1, "schedule": {"name": "constant"}}
        config.data.update(data)
        if not digits:
            # "best" is chosen by a validation split, which weights alone have not been tested on.
            config.data.update(validation="", test="validation")
            config.data.photo.update(photo)
    classes = tuple("abcdefghij"[: model.get("num_classes", 10)])
    found = recipe.Recipe(config, classes, statistics)
    run_folder.write(folder, found, jax.tree.map(jnp.asarray, variables), {})
    return folder


def forward(arrays, image, *, towers=1, pads=(2, 2), lrn=None, after_pool=False):
    """AlexNet's logits by loops over one image [c, h, w], with arrays in torch's layout.

    `arrays` has conv1 .. fc8, each as (weights, biases); `lrn` is (k, alpha) across all maps.
    """

    def conv(name, x, stride, pads):
        weights, biases = arrays[name]
        size = weights.shape[2]
        x = np.pad(x, ((0, 0), pads, pads))
        side = (x.shape[1] - size) // stride + 1
        out = np.zeros((len(weights), side, side))
        each = x.shape[0] // weights.shape[1]  # groups
        for o, (kernel, bias) in enumerate(zip(weights, biases, strict=True)):
            start = o // (len(weights) // each) * weights.shape[1]
            part = x[start : start + weights.shape[1]]
            for i, j in np.ndindex(side, side):
                window = part[:, i * stride : i * stride + size, j * stride : j * stride + size]
                out[o, i, j] = (window * kernel).sum() + bias
        return out

    def pool(x):
        side = (x.shape[1] - 3) // 2 + 1
        out = np.zeros((len(x), side, side))
        for i, j in np.ndindex(side, side):
            out[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2))
        return out

    def norm(x):
        if lrn is None:
            return x
        return naive_alexnet.naive_lrn(x.transpose(1, 2, 0), *lrn).transpose(2, 0, 1)

    def end(x):
        x = np.maximum(x, 0)
        return norm(pool(x)) if after_pool else pool(norm(x))

    x = end(conv("conv1", image, 4, pads))
    x = end(conv("conv2", x, 1, (2, 2)))
    for name in ("conv3", "conv4", "conv5"):
        x = np.maximum(conv(name, x, 1, (1, 1)), 0)
    x = pool(x).reshape(-1)
    for name in ("fc6", "fc7"):
        x = np.maximum(arrays[name][0] @ x + arrays[name][1], 0)
    return arrays["fc8"][0] @ x + arrays["fc8"][1]


# ---------------------------------------------------------------- Caffe


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, content):
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, *, legacy=False, packed=True):
    """A BlobProto."""
    if legacy:
        sides = (1,) * (4 - array.ndim) + array.shape
        head = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(sides, 1))
    else:
        head = field(7, field(1, b"".join(map(varint, array.shape))))
    data = array.astype("<f4").tobytes()
    if packed:
        return head + field(5, data)
    return head + b"".join(b"\x2d" + data[i : i + 4] for i in range(0, len(data), 4))


def caffemodel(layers, *, first_version=False, packed=True):
    """A NetParameter: a dict of layers, each with its list of blobs."""
    parts = [field(1, b"a net")]
    for name, blobs in layers.items():
        name_number, blobs_number, number = (4, 6, 2) if first_version else (1, 7, 100)
        content = field(name_number, name.encode())
        for array in blobs:
            content += field(blobs_number, blob(array, legacy=first_version, packed=packed))
        parts.append(field(number, content))
    return b"".join(parts)


# ---------------------------------------------------------------- damage


def zip_bytes(entries, compression=zipfile.ZIP_DEFLATED):
    """A zip file of {name: content}."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return file.getvalue()


def safetensors_bytes(header, data=b"", length=None):
    """A safetensors file with any header; `length`: what it says to be the header's."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data
