import jax
import numpy as np
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.config import own_photos
from lenet_alexnet.data.order import Order
from lenet_alexnet.data.prepare.photo_sources import TRAIN_IMAGES
from lenet_alexnet.data.preprocess.statistics import compute
from lenet_alexnet.models import create_model
from lenet_alexnet.training import builders
from tests.helpers import ROOT
from tests.helpers.photo_files import write_classes

FILES = sorted(ROOT.glob("configs/**/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_config_file_loads_and_says_what_it_is(path, tmp_path, monkeypatch):
    module = configs.load(str(path))
    config = module.get_config()
    assert config.is_locked
    assert "lenet-alexnet" in (module.__doc__ or "")
    if config.data.source == "folder":  # The photos fill its open entries.
        config.data.data_dir = str(write_classes(tmp_path / "in", {"blue": 3, "red": 3}))
        own_photos.resolve(config)
    model = create_model(precision=config.train.precision, **config.model)
    if "photo" in config.data:  # The mean image comes with prepared photos.
        images = np.zeros((2, *[config.data.image_size] * 2, 3), np.uint8)
        monkeypatch.setattr(builders, "load_photo_statistics", lambda _: compute(images))
    preprocess = builders.build_preprocess(config)
    blank = np.zeros((1, *[config.data.image_size] * 2, config.data.channels), np.uint8)
    assert jax.eval_shape(preprocess, blank, None).shape[1:] == model.input_shape


def test_batches_of_the_source_are_the_same_in_every_epoch():
    data = configs.load(str(ROOT / "configs" / "alexnet_2012.py")).get_config().data
    size = int(data.train.removeprefix("train[:").removesuffix("]"))
    assert 0 <= TRAIN_IMAGES - size < 128
    order = Order(0, size, 128, reshuffle=data.reshuffle)
    epoch = size // 128
    np.testing.assert_array_equal(order.batches(5, 3), order.batches(2 * epoch + 5, 3))


def test_hash_and_differences():
    a, b = configs.base(), configs.base()
    b.data.data_dir = "/elsewhere"
    assert configs.config_hash(a) == configs.config_hash(b)
    assert configs.differences(a, b) == []
    b.train.loss.label_smoothing = 0.1
    assert configs.config_hash(a) != configs.config_hash(b)
    assert configs.differences(a, b) == ["train.loss.label_smoothing: 0.0 -> 0.1"]


def test_neighbours_of_the_same_name_are_not_mixed_up(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "neighbour.py").write_text(f"SEED = {seed}")
        (folder / "file.py").write_text(
            "import neighbour\nfrom lenet_alexnet import config\n"
            "def get_config():\n  c = config.base()\n  c.seed = neighbour.SEED\n  return c.lock()\n"
        )
    seeds = [configs.load(str(tmp_path / n / "file.py")).get_config().seed for n in ("one", "two")]
    assert seeds == [1, 2]
