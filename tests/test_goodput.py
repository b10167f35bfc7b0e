"""Where the wall time of a run went: its parts add up, over kills and resumes."""

import json
import random
import subprocess
import sys
import threading
import time

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError
from lenet_alexnet.runs import wall_time
from lenet_alexnet.runs.wall_time import EVALUATION, PARTS, STEPS, Line, WallTime
from tests.helpers import ROOT, faults
from tests.helpers.processes import wait_for
from tests.helpers.runs import stop_after
from tests.helpers.tiny_configs import make_tiny_config

REPORTED = list(wall_time.LABELS)


def line(first_step, step, begun, waited=0.0, **parts):
    return Line(begun, first_step, step, True, waited, dict.fromkeys(PARTS, 0.0) | parts)


def write(path, *lines):
    path.write_bytes(b"".join(one.encode() for one in lines))


def total(found):
    return sum(found[part] for part in REPORTED)


def test_goodput_of_a_run_that_was_killed(tmp_path):
    path = tmp_path / wall_time.NAME
    write(
        path,
        line(0, 100, 1000.0, waited=2.0, start_up=3.0, steps=10.0),
        # From the checkpoint of step 60: 40 of 80 steps are trained again.
        line(60, 140, 1020.0, waited=4.0, start_up=3.0, steps=8.0, saving=1.0),
        line(140, 150, 1035.0, steps=1.0),
    )
    assert wall_time.split(path) == {
        "seconds": 26.0,
        "start_up": 6.0,
        "compile": 0.0,
        "steps": 8.0 + 2.0 + 1.0,
        "data_wait": 2.0 + 2.0,
        "evaluation": 0.0,
        "saving": 1.0,
        "lost": 4.0,
        "down": (1020 - 1013) + (1035 - 1032),
        "starts": 3,
        "steps_again": 40,
    }


def test_goodput_of_steps_that_no_start_reaches_again(tmp_path):
    path = tmp_path / wall_time.NAME
    write(path, *(line(0, step, 10.0 * step, steps=2.0) for step in (5, 3, 8)))
    found = wall_time.split(path)
    assert found["steps_again"] == 3 + 5
    assert found["lost"] == pytest.approx(2.0 + 2.0 * 5 / 8, abs=1e-3)


def test_goodput_parts_of_a_process(tmp_path):
    start = time.monotonic()
    with WallTime([tmp_path], start) as times:
        with times.spent_on(STEPS):
            time.sleep(0.05)
            with times.spent_on(EVALUATION):
                time.sleep(0.1)
            times.step = 7
        ended = time.monotonic()
    (found,) = wall_time.read(tmp_path / wall_time.NAME)
    assert found.step == 7
    assert found.parts[STEPS] >= 0.05
    assert found.parts[EVALUATION] >= 0.1
    assert ended - start <= found.seconds + 2e-3  # each part is rounded to 0.001 s
    assert found.begun + found.seconds == pytest.approx(time.time(), abs=0.5)


def test_goodput_is_written_while_the_process_is_at_work(tmp_path):
    with WallTime([tmp_path], time.monotonic()) as times, times.spent_on(STEPS):
        wait_for(lambda: wall_time.read(tmp_path / wall_time.NAME)[0].parts[STEPS] > 0.2, 30)


def test_goodput_goes_to_a_new_line_when_the_run_goes_back(tmp_path):
    with WallTime([tmp_path], time.monotonic()) as times, times.spent_on(STEPS):
        times.go_to(10)  # It resumes there.
        times.step = 30
        times.go_to(20)  # It diverged.
        times.step = 35
        time.sleep(0.01)
    first, second = wall_time.read(tmp_path / wall_time.NAME)
    assert (first.first_step, first.step, second.first_step, second.step) == (10, 30, 20, 35)
    assert second.parts[STEPS] >= 0.01
    found = wall_time.split(tmp_path / wall_time.NAME)
    assert (found["steps_again"], found["starts"]) == (10, 1)


def test_goodput_costs_little(tmp_path):
    """Of the processor, in the thread that keeps the line up to date: under 0.1 %."""
    with WallTime([tmp_path], time.monotonic()) as times:
        start = time.thread_time()
        for _ in range(1000):
            times.write()
        each = (time.thread_time() - start) / 1000
    assert each / wall_time.EVERY < 1e-3


def test_goodput_of_several_runs_at_once(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    write(folders[0] / wall_time.NAME, line(0, 50, 1000.0, steps=1.0))
    with WallTime(folders, time.monotonic()) as times:
        times.go_to(40)
        times.step = 60
    again = [
        times["steps_again"] for times in (wall_time.split(f / wall_time.NAME) for f in folders)
    ]
    assert again == [10, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"[]",
        b'{"begun": 1}',
        b"\0",
        line(0, 1, float("inf")).encode()[:-1],
        line(0, 10**20, 1.0).encode()[:-1],
        line(0, 1, 1.0, steps=-1.0).encode()[:-1],
        line(0, 1, 1.0, waited=float("nan")).encode()[:-1],
    ],
)
def test_goodput_record_that_is_broken(tmp_path, content):
    path = tmp_path / wall_time.NAME
    path.write_bytes(line(0, 1, 1.0).encode() + content.ljust(wall_time.LINE - 1) + b"\n")
    with pytest.raises(DataError, match=r"broken in line 2: without this file"):
        WallTime([tmp_path], time.monotonic())


def test_goodput_line_that_a_crash_left_unfinished(tmp_path):
    path = tmp_path / wall_time.NAME
    path.write_bytes(line(0, 1, 1.0).encode() + b'{"begun": 3')
    with WallTime([tmp_path], time.monotonic()):
        pass
    assert len(wall_time.read(path)) == 2
    assert path.stat().st_size == 2 * wall_time.LINE


def test_goodput_ends_its_thread(tmp_path):
    def alive():
        return [thread.name for thread in threading.enumerate()].count(wall_time.NAME)

    with WallTime([tmp_path], time.monotonic()):
        assert alive() == 1
    assert alive() == 0


class Killed:
    """Processes that are killed one after the other; `alive` is how long they lived."""

    def __init__(self, record):
        self.record, self.alive, self.lives = record, 0.0, 0
        self.begun = time.monotonic()

    def run(self, start, seconds, after_a_step=False):
        """Kills a process that many seconds after it opened its record, or trained a step."""
        born = time.monotonic()
        process = start()
        self.lives += 1
        try:
            wait_for(lambda: len(wall_time.read(self.record)) == self.lives, 600)
            if after_a_step:
                wait_for(self._stepped, 600)
            time.sleep(seconds)
            assert process.poll() is None
        finally:
            self.ended = time.monotonic()
            process.kill()
            process.wait()
        self.alive += self.ended - born

    def _stepped(self):
        last = wall_time.read(self.record)[-1]
        return last.step > last.first_step

    def check(self, *, starts):
        found = wall_time.split(self.record)
        assert found["starts"] == starts
        assert total(found) == pytest.approx(self.alive, rel=0.01)
        assert total(found) + found["down"] == pytest.approx(self.ended - self.begun, rel=0.01)
        return found


@pytest.mark.slow
def test_goodput_over_two_kills(tmp_path):
    record = tmp_path / wall_time.NAME
    killed = Killed(record)
    for first_step in (0, 100):
        command = [sys.executable, "-m", "tests.helpers.wall_time_program", tmp_path, first_step]
        killed.run(lambda c=command: subprocess.Popen([*map(str, c)], cwd=ROOT), 8.0)
        time.sleep(0.5)
    found = killed.check(starts=2)
    first, second = wall_time.read(record)
    assert found["steps_again"] == min(first.step, second.step) - 100 > 0
    assert found["lost"] > 0
    assert found["down"] >= 0.5
    assert all(found[part] > 0 for part in ("data_wait", "evaluation", "saving"))
    assert found["compile"] >= 0.4 - 2e-3  # each is rounded to 0.001 s
    assert second.first_step == 100


@pytest.mark.slow
def test_goodput_over_twenty_kills(tmp_path):
    """Of a run with its start-up, compilation, steps, evaluations and saves.

    Most kills come at any time: on a busy machine, all of them before the first step. So
    every fourth waits for a step.
    """
    command = [
        *(sys.executable, "-m", "lenet_alexnet"),
        *("--config.train.duration=20000 steps" if "duration" in x else x for x in faults.LENET),
        f"--workdir={tmp_path}",
    ]
    draw = random.Random(0)
    killed = Killed(tmp_path / wall_time.NAME)
    for index in range(20):
        killed.run(
            lambda: subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL),
            draw.uniform(0, 12),
            after_a_step=index % 4 == 3,
        )
    found = killed.check(starts=20)
    assert found["steps_again"] > 0
    assert all(found[part] > 0 for part in REPORTED if part != "data_wait")


@pytest.mark.slow
def test_goodput_in_the_summary_and_the_report(tmp_path, capsys):
    from lenet_alexnet.errors import Interrupted
    from lenet_alexnet.training.loop import train_and_evaluate

    with pytest.raises(Interrupted):
        train_and_evaluate(make_tiny_config(), tmp_path, stop_requested=stop_after(3))
    assert json.loads((tmp_path / "summary.json").read_text())["wall_time"]["starts"] == 1
    start = time.monotonic()
    summary = train_and_evaluate(make_tiny_config(), tmp_path)
    found = summary["wall_time"]
    took = time.monotonic() - start
    assert found["starts"] == 2
    assert found["steps_again"] == 0
    assert total(found) == pytest.approx(found["seconds"], abs=0.01)
    _, second = wall_time.read(tmp_path / wall_time.NAME)
    assert second.step == 60
    assert summary["train_seconds"] == pytest.approx(found["steps"] + found["data_wait"], abs=2e-3)
    assert summary["train_seconds"] > second.parts[STEPS]  # Those of the first start count, too.
    assert took - 0.5 < second.seconds <= took
    assert all(found[part] > 0 for part in ("compile", "steps", "evaluation", "saving"))
    assert main(["lenet-alexnet", "report", f"--workdir={tmp_path}"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Where the time went" in page
    assert f"<td>compiling</td><td>{found['compile']:,.1f} s</td>" in page
    (tmp_path / wall_time.NAME).unlink()  # as a run from before this record
    assert main(["lenet-alexnet", "report", f"--workdir={tmp_path}"]) == 0
    assert "Where the time went" not in (tmp_path / "report.html").read_text()
    capsys.readouterr()


@pytest.mark.slow
def test_goodput_of_lanes(tmp_path):
    from lenet_alexnet.sweep.vmap import train_seeds

    config = make_tiny_config()
    with config.unlocked():
        config.train.duration = "20 steps"
    for summary in train_seeds(config, [0, 1], tmp_path):
        found = summary["wall_time"]
        trained = found["steps"] + found["data_wait"]
        assert summary["train_seconds"] == pytest.approx(trained, abs=2e-3)
        assert total(found) == pytest.approx(found["seconds"], abs=0.01)
        assert all(found[part] > 0 for part in ("compile", "steps", "evaluation", "saving"))
    assert [path.parent.name for path in sorted(tmp_path.glob(f"*/{wall_time.NAME}"))] == [
        "seed_0",
        "seed_1",
    ]
