"""AlexNet in every parallel mode: the same parameters, and the expected exchanges."""

import json

import numpy as np
import pytest

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.info.collectives import collectives
from lenet_alexnet.models import create_model
from lenet_alexnet.training.layout import Layout
from tests.helpers import processes
from tests.helpers.processes import assert_same, finish, start


@pytest.fixture(autouse=True)
def _no_process_stays():
    yield
    processes.end_all()


def train_alexnet(
    folder, mode, devices, variant="paper", precision="float32", weights=None, frozen=()
):
    file = folder / f"{mode}_{devices}.npz"
    arguments = [mode, variant, precision, file, json.dumps(weights), json.dumps(frozen)]
    program = ["-m", "tests.helpers.alexnet_program", *arguments]
    report = json.loads(finish(start(program, devices)))
    with np.load(file) as arrays:
        return dict(arrays), report


@pytest.fixture(scope="module")
def alexnet_alone(tmp_path_factory):
    return train_alexnet(tmp_path_factory.mktemp("alexnet"), "dp", 1)[0]


MODES = [("tower", 2)]
MORE = [(mode, devices) for mode in ("dp", "tower", "owt") for devices in (4, 8)]
MORE += [("dp", 2), ("owt", 2), ("turns", 2), ("turns", 4)]


@pytest.mark.parametrize(
    ("mode", "devices"), [*MODES, *(pytest.param(*m, marks=pytest.mark.slow) for m in MORE)]
)
def test_alexnet_gives_the_parameters_of_one_device_in_every_mode(
    alexnet_alone, tmp_path, mode, devices
):
    params, report = train_alexnet(tmp_path, mode, devices)
    assert_same(alexnet_alone, params)
    batch = 16 // (devices // 2 if mode == "tower" else devices)  # on each device
    exchanges = [(c["kind"], c["shapes"]) for c in report["collectives"]]
    shapes = [tuple(shape) for _, many in exchanges for shape in many]
    # No whole batch of images and no whole weight is ever exchanged.
    assert not [shape for shape in shapes if shape[-3:] in ((72, 72, 3), (64, 64, 3))]
    gathered = sorted(tuple(s) for kind, many in exchanges if kind == "all-gather" for s in many)
    scattered = sorted(
        tuple(s) for kind, many in exchanges if kind == "reduce-scatter" for s in many
    )
    if mode == "tower":
        # conv3's input, fc6's and fc7's, and their gradients; fc8's sums. Maps are [h, w, b, c].
        assert gathered == [(1, 1, batch, 256), (3, 3, batch, 256), (batch, 64)]
        assert scattered == [(1, 1, batch, 128), (3, 3, batch, 128), (batch, 32)]
        assert report["param_bytes_here"] < 0.51 * report["param_bytes"]
        assert [(batch, 8)] in [[tuple(s) for s in many] for _, many in exchanges]
        if devices == 2:
            larger = [s for kind, many in exchanges if kind == "all-reduce" for s in many if s]
            assert larger == [[batch, 8]]  # Each weight has one owner: no gradient is summed.
    if mode == "owt":
        assert (16, 256) in gathered
        dense = sum(np.prod(s) for s in ((256, 32), (64, 32), (32, 8))) * 2 * 4
        assert report["param_bytes_here"] < report["param_bytes"] - 0.45 * dense
    if mode == "turns":  # In each turn, as many rows as each device has.
        assert (batch, 256) in gathered
        assert (16, 256) not in gathered
    if mode == "dp":
        reduced = sum(c["bytes"] for c in report["collectives"] if c["kind"] == "all-reduce")
        assert report["param_bytes"] <= reduced <= 1.05 * report["param_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_the_dense_layers_move_after_each_turn(tmp_path, devices):
    alone, by_hand = train_alexnet(tmp_path, f"naive_{devices}", 1)
    params, report = train_alexnet(tmp_path, "each_turn", devices)
    assert_same(alone, params)
    assert report["loss"] == pytest.approx(by_hand["loss"], rel=1e-4)
    assert report["errors"] == by_hand["errors"]
    # The convolutions' gradients are summed once; a turn's exchanges are those of `turns`.
    _, turns = train_alexnet(tmp_path, "turns", devices)
    sums = {
        name: sum(c["bytes"] for c in found["collectives"] if c["kind"] == "all-reduce")
        for name, found in (("turns", turns), ("each_turn", report))
    }
    assert sums["each_turn"] - sums["turns"] == 4 * 8 * (devices - 1)  # fc8's bias in each turn
    for kind in ("all-gather", "reduce-scatter"):
        amounts = [
            sorted(c["bytes"] for c in found["collectives"] if c["kind"] == kind)
            for found in (turns, report)
        ]
        assert amounts[0] == amounts[1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dp", "tower", "owt", "each_turn"])
def test_class_weights_are_of_the_whole_batch_in_every_mode(tmp_path, mode):
    weights = [8.0, 0.1, 1.0, 1.0, 0.0, 3.0, 0.5, 2.0]
    one_device = "naive_2" if mode == "each_turn" else "dp"
    alone, of_one = train_alexnet(tmp_path, one_device, 1, weights=weights)
    params, report = train_alexnet(tmp_path, mode, 2, weights=weights)
    assert_same(alone, params)
    assert report["loss"] == pytest.approx(of_one["loss"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dp", "tower", "owt", "turns"])
def test_bfloat16_in_every_mode(tmp_path, mode):
    alone = train_alexnet(tmp_path, "dp", 1, precision="bfloat16")[0]
    params = train_alexnet(tmp_path, mode, 4, precision="bfloat16")[0]
    for name, value in alone.items():  # Sums come in another order: some of 8 bits' rounding.
        scale = np.abs(value).max()
        assert np.abs(params[name] - value).max() < 0.02 * scale, name


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "devices"), [("dp", 4), ("tower", 4), ("owt", 2)])
def test_batch_normalisation_is_over_the_whole_batch(tmp_path, mode, devices):
    alone = train_alexnet(tmp_path, "dp", 1, "bn")[0]
    assert_same(alone, train_alexnet(tmp_path, mode, devices, "bn")[0])


@pytest.mark.parametrize(
    ("mode", "devices"),
    [
        ("owt", 2),
        *(pytest.param(*m, marks=pytest.mark.slow) for m in (("dp", 2), ("tower", 2))),
        pytest.param("each_turn", 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_frozen_layers_in_every_mode(tmp_path, mode, devices):
    frozen = ("conv1", "conv2", "fc6")

    one_device = f"naive_{devices}" if mode == "each_turn" else "dp"
    alone, _ = train_alexnet(tmp_path, one_device, 1, frozen=frozen)
    params, report = train_alexnet(tmp_path, mode, devices, frozen=frozen)
    assert_same(alone, params)
    kept = [name for name in params if any(f"'{layer}'" in name for layer in frozen)]
    assert len(kept) == 2 * len(frozen)
    assert report["kept"] == kept
    if mode == "dp":  # Only the gradients of the other layers are exchanged.
        reduced = sum(c["bytes"] for c in report["collectives"] if c["kind"] == "all-reduce")
        trained = sum(leaf.nbytes for name, leaf in params.items() if name not in kept)
        assert trained <= reduced <= trained + 0.05 * report["param_bytes"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "towr"}, "tower"),
        ({"mode": "dp", "turns": True}, "for mode owt"),
        ({"mode": "owt", "update_each_turn": True}, "needs parallel.turns"),
        ({"mode": "tower", "model": create_model(name="lenet5")}, "AlexNet's"),
        ({"mode": "tower", "model": create_model(name="alexnet", variant="single")}, "two towers"),
        ({"mode": "tower", "model": create_model(name="alexnet", variant="caffe")}, "border"),
        ({"mode": "tower", "model": create_model(name="alexnet")}, "pairs of devices"),
    ],
)
def test_modes_that_do_not_suit_are_refused_with_the_reason(options, words):
    with pytest.raises(UsageError, match=words):
        Layout(**options)


def test_reading_the_exchanges_of_a_program():
    text = """
  %a = f32[8,4]{1,0} all-gather(%x), dimensions={0}
  %b = (f32[3]{0}, bf16[2,2]{1,0}) all-reduce(%y, %z), to_apply=%add
  %c = (f32[4]{0}, f32[8]{0}) all-gather-start(%x), dimensions={0}
  %d = f32[8]{0} all-gather-done(%c)
  %g = f32[99]{0} all-reduce(%y), replica_groups={{0},{1}}, to_apply=%add
  %h = f32[99]{0} all-reduce(%y), replica_groups=[2,1]<=[2], to_apply=%add
  ROOT %e = f32[2]{0} add(%p, %q)
"""
    found = collectives(text)
    assert [(c.kind, c.bytes) for c in found] == [
        ("all-gather", 128),
        ("all-reduce", 20),
        ("all-gather", 32),
    ]
    assert found[1].shapes == ((3,), (2, 2))


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups={{0,2},{1,3}}", 2),
        ("replica_groups={{0},{1,2,3}}", 3),
        ("replica_groups={}", 0),  # all
        ("dimensions={0}", 0),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups=[4,2]<=[4,2]T(1,0)", 2),
        ("replica_groups=mesh['data'=4,'tower'=2] {'data'}", 4),
        ("replica_groups=mesh['data'=4,'tower'=2] {'tower','data'}", 8),
        ("replica_groups=mesh['a'=2,'b'=1,'c'=4], device_ids=([4,2]T(1,0)) {'a'}", 2),
        ("replica_groups=mesh['data'=8] {'data':(2)4}", 4),
        ("source_target_pairs={{0,1},{1,0}}", 2),
    ],
)
def test_groups_of_devices_in_each_form_that_xla_prints(groups, size):
    (found,) = collectives(
        f"  %a = f32[8]{{0}} all-reduce(%x), channel_id=1, {groups}, to_apply=%b"
    )
    assert found.group == size


@pytest.mark.parametrize(
    "groups", ["grid{0,1}", "mesh['data'=4] {'tower'}", "[2,4]", "{{0,1},", "mesh['data'=4]"]
)
def test_groups_in_an_unknown_form_are_an_error(groups):
    with pytest.raises(DataError, match="which devices"):
        collectives(f"  %a = f32[8]{{0}} all-reduce(%x), replica_groups={groups}, to_apply=%b")
