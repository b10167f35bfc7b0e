import contextlib
import json
import sys
from statistics import median

import jax
import pytest

from lenet_alexnet.bench import log, machine, scaling, steps, sweep
from lenet_alexnet.bench.measure import Measured, Subject, interleave, ratio
from lenet_alexnet.cli import main
from lenet_alexnet.errors import Diverged, UsageError
from lenet_alexnet.models.alexnet.variants import VARIANTS
from lenet_alexnet.training import compiled
from lenet_alexnet.training.step import TrainStep
from tests.helpers import event_files, processes
from tests.helpers.runs import rows

# C1, C3, C5, F6, output; one for every unit of S2 and S4.
LENET_MULTIPLY_ADDS = 784 * 150 + 100 * 2400 + 48_000 + 10_080 + 840 + 14 * 14 * 6 + 5 * 5 * 16
ALEXNET_80PX = ["--image_size=80", "--images=8", "--batch=4"]
QUICK = ["--repeats=1", "--seconds=0.01", "--json"]


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    whole = machine.limits
    monkeypatch.setattr(machine, "limits", lambda p: whole(p, size=64, copied=1 << 16))


def call(capsys, *arguments):
    code = main(["lenet-alexnet", "bench", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def results(capsys, *arguments):
    code, out, _ = call(capsys, *arguments, *QUICK)
    assert code == 0
    everything = json.loads(out)
    assert everything["machine"]["cores"] >= 1
    assert everything["machine"]["device"] == jax.devices()[0].device_kind
    assert everything["versions"]["jax"] == jax.__version__
    for found in everything["results"]:
        check(found)
    return everything["results"]


def check(found):
    """The numbers of one group agree with each other."""
    for one in [*found["rates"], *found["limits"].values()]:
        each = [one["amount"] / seconds for seconds in one["seconds"]]
        assert len(each) == 1
        assert 0 < one["lowest"] <= one["rate"] <= one["highest"]
        assert one["rate"] == pytest.approx(median(each))
        if one["unit"] == "images/s":
            assert one["amount"] % found["batch"] == 0
            assert one["flops_per_second"] == pytest.approx(one["rate"] * found["flops_per_image"])
    rates = {one["name"]: one["rate"] for one in found["rates"]}
    for pair in found["ratios"]:
        assert pair["median"] == pytest.approx(rates[pair["of"]] / rates[pair["to"]])
    # Of one device, where others are compared with it.
    main = found["ratios"][0]["to" if found["subject"] == "scaling" else "of"]
    share = rates[main] * found["flops_per_image"]
    assert found["share_of_gemm"] == pytest.approx(share / found["limits"]["gemm"]["rate"])


def test_subjects_take_turns_and_the_median_counts():
    now, calls = 0.0, []
    durations = {"a": [9.0, 2.0, 1.0, 5.0, 2.0], "b": [9.0, 1.0, 4.0, 5.0, 1.0]}
    left = {name: iter(values) for name, values in durations.items()}

    def subject(name, amount):
        def run(units):
            nonlocal now
            calls.append((name, units))
            now += next(left[name])

        return Subject(name, run, amount)

    a, b = interleave(
        [subject("a", 10), subject("b", 30)], repeats=3, seconds=4.0, clock=lambda: now
    )
    # Warm-up; a second run measures how many units take 4 seconds; then turns.
    assert calls == [("a", 1)] * 2 + [("b", 1)] * 2 + [("a", 2), ("b", 4)] * 3
    assert (a.seconds, b.seconds) == ([1.0, 5.0, 2.0], [4.0, 5.0, 1.0])
    assert a.rates == [20.0, 4.0, 10.0]
    found = a.as_dict()
    assert (found["rate"], found["lowest"], found["highest"]) == (10.0, 4.0, 20.0)
    assert (found["amount"], found["unit"]) == (20, "images/s")
    # By turns: 20/30, 4/24, 10/120; not the ratio of the medians, 10/30.
    assert ratio(a, b) == pytest.approx({"median": 1 / 6, "lowest": 1 / 12, "highest": 2 / 3})


def test_a_unit_longer_than_a_turn_is_one_turn():
    now = 0.0

    def run(units):
        nonlocal now
        now += 7.0 * units

    (found,) = interleave([Subject("slow", run, 1)], repeats=2, seconds=0.5, clock=lambda: now)
    assert found == Measured(found.subject, 1, [7.0, 7.0])


@pytest.mark.slow
def test_lenet5(capsys):
    first, second = results(capsys, "lenet5", "--batch=4,4")
    assert (first["batch"], second["batch"]) == (4, 4)
    assert [one["name"] for one in first["rates"]] == ["one step a call", "many steps a call"]
    assert first["flops_per_image"] == 3 * 2 * LENET_MULTIPLY_ADDS
    assert first["bytes_per_image"] > 4 * 32 * 32


@pytest.mark.slow
def test_a_call_of_many_steps_and_single_calls_do_so_many_steps(monkeypatch):
    class Counted(TrainStep):
        def advance(self, state, *rest, **options):
            jax.debug.callback(lambda n: seen.append(int(n)), state.step, ordered=True)
            return super().advance(state, *rest, **options)

    monkeypatch.setattr(steps, "TrainStep", Counted)
    monkeypatch.setattr(compiled, "TrainStep", Counted)
    trainer = steps.Trainer(steps.lenet5_config(4))
    seen = []
    for subject in (trainer.single()[0], trainer.many()):
        seen.clear()
        subject.run(3)
        subject.run(53)  # more than one dispatch
        jax.effects_barrier()
        assert seen == list(range(56))
        assert subject.amount == 4


@pytest.mark.slow
def test_sweep(capsys):
    (found,) = results(capsys, "sweep", "--batch=4", "--runs=3")
    one, three = found["rates"]
    assert (one["name"], three["name"]) == ("1 run", "3 runs")
    assert three["amount"] % 12 == 0


def test_log(capsys):
    (found,) = results(capsys, "log", "--batch=4")
    assert [one["name"] for one in found["rates"]] == ["metrics.jsonl", "and TensorBoard"]


@pytest.mark.slow
def test_both_subjects_of_log_write_a_line_every_100_steps(tmp_path, monkeypatch):
    folders = [tmp_path / "plain", tmp_path / "copied"]
    places = iter(folders)

    def make():
        folder = next(places)
        folder.mkdir()
        return contextlib.nullcontext(str(folder))

    monkeypatch.setattr(log.tempfile, "TemporaryDirectory", make)
    with log.subjects(4, "float32") as (_, subjects):
        for subject in subjects:
            subject.run(130)
            subject.run(90)
    assert [[row["step"] for row in rows(folder)] for folder in folders] == [[100, 200]] * 2
    scalars = event_files.scalars(folders[1] / "tensorboard")
    assert [step for step, _ in scalars["train/loss"]] == [100, 200]


@pytest.fixture(scope="module")
def photos():
    with steps.random_photos(4, 80) as place:
        yield place


@pytest.mark.parametrize(
    "variant",
    ["owt", *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS if name != "owt")],
)
@pytest.mark.slow
def test_every_variant_of_alexnet_stays_finite(photos, variant):
    data_dir, name = photos
    config = steps.alexnet_config(4, variant=variant, data_dir=data_dir, name=name, size=80)
    with config.unlocked():
        config.model.dense_width = 256
    steps.Trainer(config).many().run(16)


@pytest.mark.slow
def test_lanes_that_are_not_finite_have_no_speed(monkeypatch):
    monkeypatch.setattr(steps, "OPTIMIZER", steps.OPTIMIZER | {"learning_rate": 1e30})
    _, (_, lanes) = sweep.subjects(2, 8, "float32")
    with pytest.raises(Diverged, match="NaN or infinite"):
        lanes.run(4)


@pytest.mark.slow
def test_cifar(capsys):
    (found,) = results(capsys, "cifar", "--variant=13pct", "--images=4", "--batch=4")
    multiply_adds = 24 * 24 * 64 * 75 + 12 * 12 * 64 * 1600 + 36 * 9 * 32 * (64 + 32) + 11_520
    assert found["flops_per_image"] == 3 * 2 * multiply_adds


@pytest.mark.slow
def test_input_and_alexnet(capsys):
    (found,) = results(capsys, "input", *ALEXNET_80PX)
    names = [one["name"] for one in found["rates"]]
    assert names == [
        "records read",
        "records on the device",
        "steps, resident data",
        "steps, streamed data",
    ]
    assert [one["unit"] for one in found["rates"]] == ["records/s"] * 2 + ["images/s"] * 2
    pair = found["ratios"][0]
    assert (pair["of"], pair["to"]) == (names[3], names[2])


@pytest.mark.slow
def test_scaling():
    line = ["lenet_alexnet", "bench", "scaling", "--mode=owt"]
    process = processes.start(["-m", *line, *ALEXNET_80PX, *QUICK], devices=4)
    (found,) = json.loads(processes.finish(process))["results"]
    check(found)
    rates = [one["rate"] for one in found["rates"]]
    assert [one["name"] for one in found["rates"]] == ["1 device", "2 devices", "4 devices"]
    two, four = found["scaling"]
    assert (two["devices"], two["batch"], four["devices"], four["batch"]) == (2, 8, 4, 16)
    assert four["efficiency"] == pytest.approx(rates[2] / rates[0] / 4)
    assert set(two["exchanged"]) >= {"all-gather", "all-reduce"}
    assert two["sent_bytes"] > 0
    assert two["mode"] == "owt"


def test_numbers_of_devices():
    assert [scaling.counts(n) for n in (2, 3, 4, 6)] == [[1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6]]


def test_one_device_has_no_scaling(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="several devices"):
        scaling.subjects(4, "float32", "dp")


def test_table(capsys):
    code, out, _ = call(capsys, "lenet5", "--batch=4", "--repeats=1", "--seconds=0.01")
    assert code == 0
    assert "lenet5, batch 4, float32" in out
    assert "many steps a call / one step a call:" in out
    assert "% of the GEMM rate" in out


def test_mistakes(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for arguments, message in [
        (["lenet"], "unknown subject 'lenet': did you mean 'lenet5'?"),
        (["lenet5", "alexnet"], "'alexnet' is not expected here"),
        (["lenet5", "--batch=32,x"], "--batch=32,x: write whole numbers"),
        (["lenet5", "--precision=float23"], "did you mean 'float32'?"),
        (["lenet5", "--repeats=0"], "repeats"),
        (["sweep", "--peer=torch"], "--peer=torch is for lenet5, alexnet, cifar, not sweep"),
        (
            ["lenet5", "--peer=torch"],
            "--peer=torch needs PyTorch: pip install 'lenet-alexnet[torch]'",
        ),
    ]:
        code, out, err = call(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("error: ")
        assert message in err


@pytest.mark.slow
def test_the_peer_takes_turns(capsys):
    pytest.importorskip("torch")
    (found,) = results(capsys, "lenet5", "--batch=4", "--peer=torch")
    peers = [one for one in found["rates"] if one["name"].startswith("PyTorch")]
    assert peers
    assert len(peers) + len(found["notes"]) == 4
    best = max(peers, key=lambda one: one["rate"])
    assert found["peer"]["best"] == best["name"]
    ours = found["rates"][1]["rate"]
    assert found["peer"]["median"] == pytest.approx(ours / best["rate"])
