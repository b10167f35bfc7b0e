"""The tables in the documents match the run records."""

import csv
import json

import pytest

from lenet_alexnet.errors import DataError, LenetAlexnetError
from lenet_alexnet.reproduce import records
from tests.helpers import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("experiments/**/README.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_are_up_to_date(path):
    text = path.read_text()
    assert records.rendered(text, ROOT) == text, "run make results"


def test_the_readme_has_tables():
    assert "results:001_lenet5_mnist" in DOCUMENTS[0].read_text()


def run_directory(folder, seed, error, **changes):
    folder.mkdir(parents=True)
    test = {"loss": 0.1, "top1_error": error, "examples": 10}
    summary = {
        "status": "completed",
        "seed": seed,
        "step": 4,
        "epoch": 2.0,
        "eval": {"test": test},
        "train_seconds": 30.0,
        "compile_seconds": 1.0,
        "config_hash": "x",
    }
    run = {
        "git_commit": "0123456789abcdef",
        "git_dirty": False,
        "cpu_count": 2,
        "devices": ["cpu"],
        "versions": {"jax": "1", "python": "3"},
    }
    rows = [
        {"step": round(2 * e), "epoch": e, "split": s, "top1_error": error, "loss": 1.0}
        for e, s in ((1.0, "train"), (1.5, "train"), (2.0, "train"), (2.0, "test"))
    ]
    (folder / "summary.json").write_text(json.dumps(summary | changes))
    (folder / "run.json").write_text(json.dumps(run | changes))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_gather_and_table(tmp_path):
    for seed, error in enumerate((0.01, 0.02, 0.03)):
        run_directory(tmp_path / "runs" / "net" / f"seed_{seed}", seed, error)
    experiment = tmp_path / "experiments" / "000_x"
    records.save(experiment, *records.gather({"net": tmp_path / "runs" / "net"}))
    with (experiment / "curves.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 9  # Whole epochs only.
    text = "before\n<!-- results:000_x -->\nold\n<!-- end -->\nafter\n"
    text = records.rendered(text, tmp_path)
    assert "| net | 2 | 2.000 ± 1.000 | 3 |" in text
    assert "| 0.5 | 0123456789ab |" in text
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")


@pytest.mark.attack(
    "one line",
    "run files without their entries where results are gathered",
    "one line names the run",
)
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", "{}", "has no 'status'"),
        ("run.json", "[]", "no JSON object"),
        ("run.json", '{"git_dirty": "no"}', "'git_dirty' is 'no'"),
        ("run.json", '{"git_dirty": false}', r"seed_0: its files are incomplete .*git_commit"),
        ("metrics.jsonl", "garbage\n", "broken in line 1"),
        ("metrics.jsonl", "", "seed_0: its files are incomplete"),
    ],
)
def test_damaged_files_of_a_run_are_one_error(tmp_path, name, content, message):
    run_directory(tmp_path / "net" / "seed_0", 0, 0.01)
    (tmp_path / "net" / "seed_0" / name).write_text(content)
    with pytest.raises(LenetAlexnetError, match=message):
        records.gather({"net": tmp_path / "net"})


@pytest.mark.attack(
    "silent", "runs that diverged, or of changed code, where results are gathered", "one line"
)
@pytest.mark.parametrize("changes", [{"status": "diverged"}, {"git_dirty": True}])
def test_runs_that_prove_nothing_are_refused(tmp_path, changes):
    run_directory(tmp_path / "net" / "seed_0", 0, 0.01, **changes)
    with pytest.raises(DataError, match="seed_0"):
        records.gather({"net": tmp_path / "net"})
