"""Results of sweeps: tables, figures and their lines, and halving."""

import csv
import json

import pytest

from lenet_alexnet.sweep import figures, grid, halving, product, results, seeds, series, zip_
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.figures import draw
from lenet_alexnet.sweep.results import ranked
from lenet_alexnet.sweep.trials import Sweep
from tests.helpers.sweep_files import fake, trials_of


def test_results_are_grouped_over_seeds_and_ranked(tmp_path):
    sweep = Sweep(tmp_path)
    trials = trials_of(product(grid(learning_rate=[0.1, 0.2, 0.3, 40.0]), seeds(2)))
    errors = [0.2, 0.4, 0.1, 0.2, 0.05, 0.05, 0.9, 0.9]
    for trial, error in zip(trials, errors, strict=True):
        fake(sweep, trial, error, "diverged" if trial is trials[4] else "completed")
    rows = results.collect(sweep, trials)
    order = ranked(rows, "top1_error")
    rates = [dict(setting.overrides)["optimizer.learning_rate"] for setting in order]
    assert rates == [0.2, 0.1, 40.0, 0.3]  # A setting with a diverged trial comes last.
    assert order[0].mean == pytest.approx(0.15)
    assert order[0].std == pytest.approx(0.1 / 2**0.5)
    text = results.table(rows, "top1_error")
    assert "1 diverged" in text.splitlines()[4]
    assert "flattered" in text
    results.write_csv(rows, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["status"] for row in written].count("completed") == 7
    assert written[0] | {"optimizer.learning_rate": "0.1", "seconds": "2.0"} == written[0]
    assert {path.name for path in draw(sweep, rows, "top1_error")} == {"metric.png", "curves.png"}


def swept(tmp_path, overrides, error):
    """Finished trials and their rows; `error` is of a trial's overrides."""
    sweep = Sweep(tmp_path)
    trials = trials_of(overrides)
    for trial in trials:
        fake(sweep, trial, error(trial.overrides))
    return sweep, results.collect(sweep, trials)


def test_a_second_number_has_lines_of_its_own(tmp_path, monkeypatch):
    values = (0.0, 0.5, 0.9)

    def error(o):  # 0.1 of deviation over two seeds
        rate, eps = o["optimizer.learning_rate"], o["optimizer.eps"]
        return rate + eps / 10 + (o["seed"] - 0.5) * 0.1 * 2**0.5

    axes = grid({"optimizer.learning_rate": [0.1, 0.2, 0.4], "optimizer.eps": values})
    sweep, rows = swept(tmp_path, product(axes, seeds(2)), error)
    found = series.lines(rows, "optimizer.learning_rate", "top1_error")
    assert [dict(line.others)["optimizer.eps"] for line in found] == list(values)
    for line, eps in zip(found, values, strict=True):
        assert line.places == [0.1, 0.2, 0.4]
        assert line.means == pytest.approx([x + eps / 10 for x in line.places])
        assert line.deviations == pytest.approx([0.1] * 3)
    assert len(series.lines(rows, "optimizer.eps", "top1_error")) == 3

    drawn = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.setdefault(path, figure))
    figures.draw(sweep, rows, "top1_error")
    assert len(drawn) == 2
    for path, figure in drawn.items():
        figure.tight_layout()
        figure.canvas.draw()
        for panel in figure.axes:
            legend = panel.get_legend()
            box, inside = legend.get_window_extent(), panel.get_window_extent()
            assert not box.overlaps(inside)
            assert figure.bbox.contains(box.x0, box.y0), path
        texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        for eps in values:
            assert any(f"eps={eps}" in text for text in texts)


def test_numbers_swept_together_are_one_line_and_random_ones_none(tmp_path):
    pairs = zip_({"optimizer.learning_rate": [0.1, 0.2], "optimizer.eps": [0.5, 0.9]})
    error = lambda o: o["optimizer.learning_rate"]  # noqa: E731
    _, rows = swept(tmp_path / "a", product(pairs, seeds(2)), error)
    (line,) = series.lines(rows, "optimizer.eps", "top1_error")
    assert (line.places, line.means) == ([0.5, 0.9], [0.1, 0.2])
    crossed = [(0.1, 0.5), (0.1, 0.9), (0.2, 0.6), (0.2, 0.7)]
    others = [{"optimizer.learning_rate": a, "optimizer.eps": b} for a, b in crossed]
    _, rows = swept(tmp_path / "b", others, error)
    assert series.lines(rows, "optimizer.learning_rate", "top1_error") == []


def test_halving_keeps_the_best_settings(tmp_path):
    assert halving.rungs(9, 3) == [pytest.approx(1 / 9), pytest.approx(1 / 3)]
    assert halving.rungs(8, 2) == [0.125, 0.25, 0.5]
    assert halving.rungs(1, 3) == []
    sweep, trials = Sweep(tmp_path), trials_of(product(grid(learning_rate=[1, 2, 3, 4]), seeds(2)))
    lengths = {trial.id: [] for trial in trials}

    def run_until(chosen: list[Trial], until, _):
        for trial in chosen:
            if sweep.status(trial.id)[0] == "stopped":
                continue
            folder = sweep.folder(trial.id)
            folder.mkdir(parents=True, exist_ok=True)
            lengths[trial.id].append(until)
            quality = abs(trial.overrides["optimizer.learning_rate"] - 2.9) / 10
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(
                    f'{{"step": 1, "epoch": {4 * until}, "split": "test", "loss": 1,'
                    f' "top1_error": {quality}}}\n'
                )

    halving.run(sweep, trials, 2, "top1_error", run_until, lambda: False)
    by_rate = [lengths[trial.id] for trial in trials[::2]]
    assert by_rate == [[0.25], [0.25, 0.5], [0.25, 0.5, 1.0], [0.25]] or by_rate == [
        [0.25],
        [0.25],
        [0.25, 0.5, 1.0],
        [0.25, 0.5],
    ]
    assert sweep.status(trials[0].id)[0] == "stopped"


def test_halving_does_not_depend_on_the_order_of_the_trials(tmp_path):
    """The reason why it is not Optuna's, see docs/sweeps.md."""
    kept = []
    for name, step in (("a", 1), ("b", -1)):
        sweep = Sweep(tmp_path / name)
        trials = trials_of(grid({"optimizer.learning_rate": [0.1 * i for i in range(1, 10)]}))
        trials = trials[::step]

        def run_until(chosen, until, _, sweep=sweep):
            for trial in chosen:
                folder = sweep.folder(trial.id)
                folder.mkdir(parents=True, exist_ok=True)
                quality = abs(trial.overrides["optimizer.learning_rate"] - 0.43)
                row = {"step": 1, "epoch": 4 * until, "split": "test", "loss": 1}
                with (folder / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps(row | {"top1_error": quality}) + "\n")

        halving.run(sweep, trials, 3, "top1_error", run_until, lambda: False)
        kept.append({trial.id for trial in trials if sweep.status(trial.id)[0] != "stopped"})
    assert kept[0] == kept[1]
    assert len(kept[0]) == 1
