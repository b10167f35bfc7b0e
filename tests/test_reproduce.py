"""Every number of the papers is listed, verdicts follow their rules, claims can be run again."""

import json
import re

import jax
import pytest

from lenet_alexnet.cli import main, reproduce
from lenet_alexnet.reproduce import catalogue, listing, records, status, verdict
from lenet_alexnet.reproduce import run as runner
from lenet_alexnet.reproduce.claims import Claim, Comparison, Margin, Row, Scale, Set
from lenet_alexnet.reproduce.measured import measure, recorded
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.training.layout import most_devices
from tests.helpers import ROOT, processes


def call(capsys, *arguments):
    code = main(["lenet-alexnet", "reproduce", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_number_of_both_papers_is_in_the_list():
    printed = sorted(
        row.paper
        for claim in catalogue.CLAIMS.values()
        if "Fig. 9" in claim.source
        for row in claim.full.rows
    )
    # Fig. 9 from the top, except LeNet-5's two bars, which are Figs. 5 and 6 here.
    fig9 = [
        12.0, 8.4, 7.6, 5.0, 2.4, 3.3, 3.6, 1.1, 1.1, 1.0, 0.8, 4.7, 3.6, 1.6, 4.5, 3.8, 3.05, 2.5,
        2.95, 2.45, 1.7, 1.1, 1.1, 1.1, 0.7,
    ]  # fmt: skip
    assert printed == sorted(fig9)

    def numbers(name):
        return [row.paper for row in catalogue.CLAIMS[name].full.rows]

    assert numbers("lenet5_fig6")[:4] == [1.68, 1.14, 0.95, 0.82]
    assert numbers("alexnet_table1") == [37.5, 17.0, 39.0, 18.3]
    assert numbers("alexnet_table2") == [40.7, 18.2]
    assert numbers("alexnet_table2_more") == [38.1, 16.4, 39.0, 16.6, 36.7, 15.4]
    assert numbers("alexnet_fall2009") == [67.4, 40.9]
    assert {"alexnet_fig1", "alexnet_fig3", "alexnet_fig4"} <= catalogue.CLAIMS.keys()


def test_what_is_not_run_says_why_and_what_is_says_what_it_needs():
    for claim in catalogue.CLAIMS.values():
        for scale in filter(None, (claim.full, claim.small)):
            assert scale.why or scale.note or (scale.runs and scale.needs), claim.name
            from_sets = all(row.label in scale.sets for row in scale.rows)
            assert from_sets or scale.why or scale.note or scale.compute or scale.measure


def test_every_set_is_a_config_whose_overrides_it_knows():
    for claim in catalogue.CLAIMS.values():
        for scale in filter(None, (claim.full, claim.small)):
            for label, runs in scale.sets.items():
                config = runner.load(runs)
                for key, value in runs.overrides.items():
                    assert config[key.split(".")[0]], (claim.name, label)
                    *sections, last = key.split(".")
                    place = config
                    for section in sections:
                        place = place[section]
                    assert place[last] == value
            if scale.experiment:  # Its settings may be on record before its runs.
                assert (ROOT / "experiments" / scale.experiment / "README.md").exists()


def test_a_row_is_read_from_the_records_of_its_set():
    results = [
        {"set": "a", "test_error": "0.02", "train_error": ""},
        {"set": "a", "test_error": "0.04", "train_error": "0.5"},
        {"set": "b", "test_error": "0.9", "train_error": "0.9"},
    ]
    curves = [
        {"set": "a", "split": "test", "epoch": "2.999", "error": "0.3"},
        {"set": "a", "split": "train", "epoch": "3.0", "error": "0.7"},
        {"set": "a", "split": "test", "epoch": "4.0", "error": "0.8"},
    ]
    rows = (Row("a", 3.0), Row("a", 9.0, "train_error"), Row("a", 1.0, "test_error@3"))
    found, verdicts = measure(Scale(rows), results, curves)
    assert [m.values for m in found] == [[2.0, 4.0], [50.0], [pytest.approx(30.0)]]
    assert found[0].verdict == "too few seeds"
    assert verdicts == []


def test_what_was_measured_is_what_the_experiment_says():
    rows = records.read(ROOT / "experiments" / "002_lenet5_1998" / "results.csv")
    ours = [100 * float(row["test_error"]) for row in rows if row["set"] == "full"]
    found, _ = recorded(catalogue.CLAIMS["lenet5_fig5"].full)
    assert found[0].values == ours
    assert len(ours) >= 5


def test_the_list(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 120
    for name in catalogue.CLAIMS:
        assert f"\n{name}  " in out
    code, out, _ = call(capsys, "--json")
    assert code == 0
    assert [claim["name"] for claim in json.loads(out)] == list(catalogue.CLAIMS)


def test_the_head_counts_every_number_once(tiny):
    claims = list(catalogue.CLAIMS.values())
    counts = status.counted(claims)
    assert counts.keys() <= status.STATUSES.keys()
    assert status.WORDS.keys() == verdict.WORDS.keys() | {""}
    # Two rows of which one has the paper's number, and one comparison, that were not run.
    assert status.statuses(tiny) == {"not run": 1}
    measured = catalogue.CLAIMS["lenet5_fig5"]
    assert status.statuses(measured).total() == len(measured.full.rows)
    assert listing.heading(claims)[0].startswith(f"{counts.total()} numbers")


@pytest.mark.parametrize("word", ["reproduced", "not-run", "exact"])
def test_the_list_of_one_status(capsys, word):
    code, out, _ = call(capsys, f"--status={word}", "--json")
    assert code == 0
    names = {claim["name"] for claim in json.loads(out)}
    plain = word.replace("-", " ")
    assert names == {c.name for c in catalogue.CLAIMS.values() if status.statuses(c)[plain]}
    assert 0 < len(names) < len(catalogue.CLAIMS)


def test_what_the_runs_took():
    row = {"train_seconds": "3600", "side_by_side": "2", "cpu_count": "2", "device": "cpu"}
    assert status.took([row] * 4) == "4 runs, 2 h 0 min on 2 CPU cores"
    gpu = row | {"device": "NVIDIA H100", "side_by_side": "1", "train_seconds": "120"}
    assert status.took([gpu]) == "1 run, 2 min on NVIDIA H100"


def test_the_page_needs_nothing_else(capsys, tmp_path):
    code, out, _ = call(capsys, "--html", "--status=exact", f"--workdir={tmp_path / 'new'}")
    assert code == 0
    page = (tmp_path / "new" / "reproduction.html").read_text()
    assert f"written: {tmp_path / 'new' / 'reproduction.html'}" in out
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "data:image/png" in page
    for claim in catalogue.CLAIMS.values():
        assert (f'id="{claim.name}"' in page) == bool(status.statuses(claim)["exact"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lenet5_fig6", "--html"], "for the list"),
        (["lenet5_fig66"], "did you mean 'lenet5_fig6'"),
        (["lenet5_fig6", "lenet5_fig5"], "one claim at a time"),
        (["alexnet_table1"], "ILSVRC-2010"),
        (["lenet5_fig5", "--scale=small"], "no --scale=small"),
        (["alexnet_lrn", "--record"], "no folder of experiments/ is named for 'alexnet_lrn'"),
    ],
)
def test_what_cannot_be_run_is_one_line(capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.fixture
def tiny(monkeypatch):
    """A claim of two sets of one short run each, on the digits of the package."""
    short = {"data.train": "train[:200]", "train.duration": "4 steps", "train.log_every": "2 steps"}
    sets = {
        "low": Set("lenet5_quickstart.py", short),
        "high": Set("lenet5_quickstart.py", short | {"optimizer.learning_rate": 0.01}),
    }
    scale = Scale(
        (Row("low", 50.0, margin=Margin(50.0, "a guess")), Row("high", None)), sets, seeds=2,
        needs="seconds", comparisons=(Comparison("high", "low"),),
    )  # fmt: skip
    claim = Claim("tiny", "1998", "a short run", scale)
    monkeypatch.setattr(reproduce, "CLAIMS", {"tiny": claim})
    return claim


@pytest.mark.slow
def test_a_claim_is_run_once_and_reported_again(tiny, tmp_path, capsys):
    code, out, err = call(capsys, "tiny", f"--workdir={tmp_path}")
    assert code == 0
    assert "the rule: test error of high below that of low: by Welch's t test" in err
    assert "too few seeds: test error of high against low" in out
    assert (
        "  too few seeds    fewer than 5 runs (3 where one takes over an hour): no verdict" in out
    )
    assert "2 to run" in err
    rows = records.read(tmp_path / "results.csv")
    assert [(row["set"], row["seed"]) for row in rows] == [
        ("low", "0"), ("low", "1"), ("high", "0"), ("high", "1")
    ]  # fmt: skip
    assert (tmp_path / "tiny.png").stat().st_size > 1000
    logs = [path.read_bytes() for path in sorted(tmp_path.rglob("metrics.jsonl"))]
    again, out_again, err = call(capsys, "tiny", f"--workdir={tmp_path}", "--seeds=2")
    assert (again, out_again) == (0, out)
    assert "0 to run" in err
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("metrics.jsonl"))] == logs


PROGRAM = """
import sys
from pathlib import Path
from lenet_alexnet.reproduce import run
from lenet_alexnet.reproduce.claims import Scale, Set

digits = {"data.source": "embedded", "data.train": "train[:60]", "data.test": "test[:20]"}
one = digits | {"train.duration": "1 epoch", "optimizer.curvature.examples": 10}
few = digits | {"train.batch_size": 10, "train.duration": "4 steps", "train.log_every": "2 steps"}
sets = {"one": Set("lenet5_1998.py", one), "few": Set("lenet5_quickstart.py", few)}
run.run(Scale((), sets), Path(sys.argv[1]), seeds=1)
"""


@pytest.mark.slow
def test_one_seed_is_trained_whatever_the_number_of_devices(tmp_path):
    processes.finish(processes.start(["-c", PROGRAM, tmp_path], 3))
    for label in ("one", "few"):
        assert read_json(tmp_path / label / "seed_0" / "summary.json")["status"] == "completed"


@pytest.mark.slow
def test_a_batch_of_one_is_trained_on_one_of_many_devices(tmp_path):
    arguments = [
        "-m", "lenet_alexnet", "train", "--config=configs/lenet5_1998.py", f"--workdir={tmp_path}",
        "--config.data.source=embedded", "--config.data.train=train[:60]",
        "--config.data.test=test[:20]", "--config.train.duration=1 epoch",
        "--config.optimizer.curvature.examples=10",
    ]  # fmt: skip
    process = processes.start(arguments, 2)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "a batch of 1 is on 1 of 2 devices" in err


def test_the_most_devices_that_share_a_batch_evenly(monkeypatch, tiny_config):
    for devices, batch, parts, most in (
        (8, 1, 1, 1), (8, 6, 1, 6), (8, 7, 1, 7), (8, 12, 1, 6), (8, 64, 1, 8), (4, 12, 4, 3),
        (3, 128, 1, 2), (2, 13, 1, 1), (1, 5, 1, 1), (4, 6, 4, 1),
    ):  # fmt: skip
        monkeypatch.setattr(jax, "device_count", lambda devices=devices: devices)
        with tiny_config.unlocked():
            tiny_config.train.update(batch_size=batch, accumulate=parts)
        assert most_devices(tiny_config) == most


def test_a_claim_that_is_computed(tiny, tmp_path, capsys, monkeypatch):
    scale = Scale((Row("k-NN", 5.0),), compute=lambda data_dir: {"k-NN": 0.031}, needs="")
    monkeypatch.setattr(reproduce, "CLAIMS", {"tiny": tiny._replace(full=scale)})
    code, out, _ = call(capsys, "tiny", f"--workdir={tmp_path}")
    assert code == 0
    assert "no interval" in out
    (row,) = records.read(tmp_path / "results.csv")
    assert (row["set"], row["test_error"]) == ("k-NN", "0.031")
    assert "k-NN" in records.table([row])


def test_the_listing_shows_a_small_scale_as_another_claim(tiny):
    small = Scale((Row("low", None),), why="never")
    text = listing.as_table([tiny._replace(small=small)])
    assert "--scale=small, which is another claim" in text
    assert "not run yet; needs seconds" in text
    assert "not run: never" in text
