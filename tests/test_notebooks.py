"""notebooks/: readable without running them, and their code still prints what they show."""

import json
import re

import matplotlib
import pytest

from tests.helpers import ROOT

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
MOST_BYTES = 500_000
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def code_cells(path):
    """The source and the outputs of each code cell."""
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"]), cell["outputs"], cell["execution_count"]


def printed(outputs):
    return "".join("".join(o["text"]) for o in outputs if o.get("name") == "stdout")


def numbers(text):
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def by_name(path):
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_a_notebook_is_readable_without_running_it(path):
    text = path.read_text()
    assert len(text) <= MOST_BYTES
    assert not re.search(r"/(home|root|work|tmp|usr)/|https?://", text)
    cells = list(code_cells(path))
    assert [count for *_, count in cells] == list(range(1, len(cells) + 1))  # run in order, whole
    for source, outputs, _ in cells:
        assert {o["output_type"] for o in outputs} <= {"stream", "display_data"}
        assert {o["name"] for o in outputs if o["output_type"] == "stream"} <= {"stdout"}
        assert ("print(" in source) == bool(printed(outputs))
        assert ("subplots" in source) == any("image/png" in o.get("data", {}) for o in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_a_notebook_runs_and_prints_what_it_shows(path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = {"__name__": "__main__"}
    with matplotlib.rc_context():
        for source, outputs, number in code_cells(path):
            exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
            found, shown = capsys.readouterr().out, printed(outputs)
            assert NUMBER.sub("#", found) == NUMBER.sub("#", shown)
            # Another machine rounds differently.
            assert numbers(found) == pytest.approx(numbers(shown), rel=0.02, abs=1)
            names["plt"].close("all")
    assert not list(tmp_path.iterdir())
