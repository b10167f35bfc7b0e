"""`train --profile=START:STOP`: a trace of these steps, and no other bits."""

import gzip
import json

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import Interrupted, UsageError
from lenet_alexnet.training import loop, profile
from lenet_alexnet.training.profile import Span
from lenet_alexnet.training.schedule import Schedule
from tests.helpers.runs import comparable, stop_after
from tests.helpers.tiny_configs import make_tiny_config


def short_config():
    config = make_tiny_config()
    with config.unlocked():
        config.train.duration = "30 steps"
    return config


def dispatches(workdir):
    """The (first, last) steps of the dispatches in the trace, and the names of all events."""
    (path,) = workdir.glob("profile/plugins/profile/*/*.trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    ours = [event["args"] for event in events if event.get("name") == "train"]
    return [(int(a["step_num"]), int(a["last"])) for a in ours], {e.get("name") for e in events}


@pytest.mark.parametrize("text", ["5", "5:", ":5", "a:b", "-1:5", "5:5", "9:5", "5:6:7", "1.5:3"])
def test_other_forms_are_refused_in_one_line(text, capsys, tmp_path):
    arguments = ["--config=lenet5_quickstart", f"--workdir={tmp_path / 'run'}"]
    assert main(["lenet-alexnet", "train", *arguments, f"--profile={text}"]) == 2
    error = f"--profile={text} is not START:STOP with whole numbers, as 100:110"
    assert capsys.readouterr().err == f"error: {error}\n"
    assert not (tmp_path / "run").exists()


def test_it_is_parsed():
    assert profile.parse("0:3") == Span(0, 3)
    assert profile.parse("") is None


def test_dispatches_end_where_the_trace_begins_and_ends():
    intervals = {"log": 100, "evaluate": 0, "save": 0, "refresh": 0, "per_dispatch": 50}
    schedule = Schedule(total=200, **intervals, cuts=Span(60, 75))
    stops, step = [], 0
    while step < 130:
        step = schedule.next_stop(step)
        stops.append(step)
    assert stops == [50, 60, 75, 100, 150]


@pytest.mark.slow
def test_the_trace_has_these_steps_and_the_run_the_same_bits(tmp_path, capfd):
    loop.train_and_evaluate(short_config(), tmp_path / "plain")
    loop.train_and_evaluate(short_config(), tmp_path / "traced", span=Span(8, 22))
    assert comparable(tmp_path / "traced") == comparable(tmp_path / "plain")
    found, names = dispatches(tmp_path / "traced")
    # Dispatches of 7 steps end at lines of the log (10, 20), saves (15), and the trace's ends.
    assert found == [(9, 10), (11, 15), (16, 20), (21, 22)]
    assert any("Execute" in str(name) for name in names)  # what the device did
    assert f"a trace of the steps is in {tmp_path / 'traced' / 'profile'}" in capfd.readouterr().err


@pytest.mark.slow
def test_stopped_inside_there_is_a_trace_until_then_and_the_rest_after_a_resume(tmp_path, capfd):
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(
            short_config(), tmp_path, span=Span(3, 25), stop_requested=stop_after(4)
        )
    assert dispatches(tmp_path)[0] == [(4, 10), (11, 15)]
    loop.train_and_evaluate(short_config(), tmp_path, span=Span(2, 9))
    assert "no trace: none of the steps 2:9 was trained now" in capfd.readouterr().err


def test_more_steps_than_the_run_has_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--profile=8:31: the run has 30 steps"):
        loop.train_and_evaluate(short_config(), tmp_path / "run", span=Span(8, 31))
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_trace_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch, capfd):
    def full(folder):
        raise RuntimeError("no space left\nat all")

    monkeypatch.setattr(profile.jax.profiler, "start_trace", full)
    summary = loop.train_and_evaluate(short_config(), tmp_path, span=Span(8, 9))
    assert summary["status"] == "completed"
    assert f"the trace in {tmp_path / 'profile'} is missing: no space left\n" in (
        capfd.readouterr().err
    )
