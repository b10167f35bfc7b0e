"""Checks features.json, which describes the records of a prepared set.

tfds imports the module of any class named there, so the file's author could run code. Therefore
only the classes that `data prepare` writes are allowed.
"""

import json
from pathlib import Path
from typing import Any

from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.errors import DataError

FILE = "features.json"
PACKAGE = "tensorflow_datasets.core.features."
DICT = f"{PACKAGE}features_dict.FeaturesDict"
IMAGES = {f"{PACKAGE}image_feature.Image", f"{PACKAGE}tensor_feature.Tensor"}
LABEL, TEXT = f"{PACKAGE}class_label_feature.ClassLabel", f"{PACKAGE}text_feature.Text"


def check_features(folder: Path) -> None:
    """Raises DataError unless a prepared set has an image, a label and otherwise only texts."""
    path = folder / FILE
    try:
        features = _classes(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # JSON's and protobuf's own kinds.
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"cannot read {path}: {reason}: prepare again") from error
    known = {"image": IMAGES, "label": {LABEL}}
    if not known.keys() <= features.keys():
        raise DataError(f"'{folder}' has features {sorted(features)}, image and label are needed")
    for name, kind in features.items():
        if kind not in known.get(name, {TEXT}):
            raise DataError(f"{path}: '{name}' is of class {kind!a}, which is not supported")


def _classes(path: Path) -> dict[str, str]:
    """The class of each feature; ValueError if the file is not in the form that tfds writes."""
    from google.protobuf import json_format
    from tensorflow_datasets.core.proto import feature_pb2

    with open_regular(path) as file:
        content: Any = json.loads(file.read())
    # Parsed as by tfds, as JSON may spell a field in two ways. Its older form has "type".
    message = json_format.ParseDict(content, feature_pb2.Feature())
    if "type" in content or message.python_class_name != DICT:
        raise ValueError("it is not in the form that tfds 4.9 writes")
    return {
        name: feature.python_class_name for name, feature in message.features_dict.features.items()
    }
