"""The variants of AlexNet: for each, the switches that differ from the paper's net."""

from typing import Any

# conv1 .. conv5, fc6, fc7, fc8
SOURCE_STDS = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)  # layers-145.cfg, initW
CAFFE_STDS = (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01)  # train_val.prototxt
CAFFE_BIASES = (0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0)  # "1 gave a flat loss"
HE = (None,) * 8
ZEROS = (0.0,) * 8
ONE_WEIRD_TRICK = (64, 192, 384, 256, 256)

# layers-145.cfg, whose run gave the paper's numbers.
SOURCE: dict[str, Any] = {
    "lrn": "source",
    "lrn_place": "first_before_relu",
    "spatial_norm": True,
    "stds": SOURCE_STDS,
}

VARIANTS: dict[str, dict[str, Any]] = {
    # Krizhevsky et al. 2012, secs. 3.3, 3.5, 4.2, 5: the defaults of `AlexNet`.
    "paper": {},
    "source2012": SOURCE,
    # BVLC models/bvlc_alexnet: two groups on one GPU, LRN across the groups' border.
    "caffe": {
        "lrn": "caffe",
        "stds": CAFFE_STDS,
        "biases": CAFFE_BIASES,
        "dropout_form": "inverted",
    },
    # BVLC models/bvlc_reference_caffenet: pooling before LRN.
    "caffenet": {
        "lrn": "caffe",
        "lrn_place": "after_pool",
        "stds": CAFFE_STDS,
        "dropout_form": "inverted",
    },
    # The textbook reading: one tower, no groups.
    "single": {"towers": 1},
    # torchvision's widths and layout (Krizhevsky 2014), 61,100,840 parameters.
    "owt": {
        "towers": 1,
        "widths": ONE_WEIRD_TRICK,
        "lrn": "none",
        "conv1_padding": 2,
        "dropout_form": "inverted",
        "dropout_place": "before",
        "stds": HE,
        "biases": ZEROS,
    },
    # NVIDIA models/alexnet_bn/train_val: BN between convolution and ReLU, for large batches.
    "bn": {
        "lrn": "none",
        "batch_norm": True,
        "stds": CAFFE_STDS,
        "biases": CAFFE_BIASES,
        "dropout_form": "inverted",
    },
    # layers-145-half.cfg: the one-GPU net of the two-GPU ablation (sec. 3.2), one of 145's towers
    # with all of conv5.
    "half": SOURCE | {"towers": 1, "widths": (48, 128, 192, 192, 256)},
}

# Parameters and multiply-adds by layer of the two-tower nets at 1,000 classes and 224 or 227
# pixels, computed from the sizes in sec. 3.5 (the paper prints "60 million").
TWO_TOWERS = {
    "conv1": (34_944, 105_415_200),
    "conv2": (307_456, 223_948_800),
    "conv3": (885_120, 149_520_384),
    "conv4": (663_936, 112_140_288),
    "conv5": (442_624, 74_760_192),
    "fc6": (37_752_832, 37_748_736),
    "fc7": (16_781_312, 16_777_216),
    "fc8": (4_097_000, 4_096_000),
}
