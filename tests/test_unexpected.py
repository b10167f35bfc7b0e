"""Unforeseen errors, missing resources, closed streams: one line, or nothing is lost."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import Interrupted
from lenet_alexnet.runtime import backend, unexpected
from lenet_alexnet.training import builders
from lenet_alexnet.training.single_run import SingleRun
from tests.helpers import ROOT, faults

QUICK = f"--config={ROOT}/configs/lenet5_quickstart.py"


def process(*arguments, script="from lenet_alexnet.cli import run; run()", **more):
    """A command in a separate process; `more` is added to its environment."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(*arguments, **more):
    running = process(*arguments, **more)
    out, err = running.communicate(timeout=300)
    return running.returncode, out, err


def fail_with(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(SingleRun, "_evaluate", fail)


def last_line(capsys):
    err = capsys.readouterr().err
    assert "Traceback" not in err
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.attack(
    "one line", "an error that nobody foresaw", "one line; the traceback is in a file of the run"
)
@pytest.mark.slow
def test_any_exception_is_one_line_and_a_file_in_the_run(tmp_path, monkeypatch, capsys):
    fail_with(monkeypatch, IndexError("deep inside\nand more"))
    assert main(["x", *faults.command("lenet", tmp_path)]) == 1
    line = last_line(capsys)
    assert line.endswith(f"please report it with {tmp_path / 'traceback.txt'}")
    assert "IndexError: deep inside;" in line
    assert "in train_and_evaluate\n" in (tmp_path / "traceback.txt").read_text()
    assert main(["x", *faults.command("lenet", tmp_path), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.attack(
    "one line",
    "an error that nobody foresaw, before there is a run",
    "one line; the traceback is in a temporary file",
)
def test_without_a_run_the_file_is_a_temporary_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(unexpected.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(backend, "set_up", lambda: 1 / 0)
    assert main(["x", "info", QUICK]) == 1
    (file,) = tmp_path.iterdir()
    assert str(file) in last_line(capsys)
    assert "ZeroDivisionError" in file.read_text()


@pytest.mark.attack(
    "one line",
    "memory of the host or a device, disk space or file descriptors run out",
    "one line names what to lower or free",
)
@pytest.mark.parametrize(
    ("error", "code", "fragment"),
    [
        (MemoryError(), 1, "error: out of memory: lower train.batch_size"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9"), 1, "allocating 9"),
        (RuntimeError("Unable to initialize backend 'cuda': x"), 2, "JAX cannot start it here"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "free some space"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "ulimit -n"),
    ],
)
def test_what_the_machine_lacks_is_named(monkeypatch, capsys, error, code, fragment):
    def fail():
        raise error

    monkeypatch.setattr(backend, "set_up", fail)
    assert main(["x", "info", QUICK]) == code
    assert fragment in last_line(capsys)


@pytest.mark.attack(
    "one line", "JAX_PLATFORMS names a platform that is not there", "one line, exit code 2"
)
@pytest.mark.parametrize("name", ["cuda", pytest.param("nonsense", marks=pytest.mark.slow)])
def test_a_missing_platform_is_one_line(tmp_path, name):
    code, _, err = finish("train", QUICK, f"--workdir={tmp_path / name}", JAX_PLATFORMS=name)
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"error: JAX_PLATFORMS={name}: ")


@pytest.mark.attack("one line", "Ctrl-C before the run has begun", "one line, exit code 130")
def test_ctrl_c_is_no_error(monkeypatch, capsys):
    def stop(error):
        def raise_it(*_, **__):
            raise error

        return raise_it

    for error, code in ((KeyboardInterrupt(), 130), (Interrupted("stopped, all saved"), 75)):
        monkeypatch.setattr(backend, "set_up", stop(error))
        assert main(["x", "info", QUICK]) == code
        err = capsys.readouterr().err
        assert err.startswith("stopped")
        assert "error" not in err


@pytest.mark.attack(
    "one line", "output to a terminal that is ASCII", "other characters are shown as escapes"
)
def test_an_ascii_terminal_shows_escapes():
    code, out, err = finish("reproduce", PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert out.isascii()
    assert "\\x" in out or "\\u" in out


@pytest.mark.attack(
    "silent",
    "stderr is closed: the next file that is opened takes its number",
    "nothing is written to that file",
)
def test_a_closed_stream_is_not_taken_by_a_file(tmp_path):
    """Also a stream that a shell has left open for reading only: its script."""
    script = (
        "import os, sys; os.close(2); {}\n"
        "from lenet_alexnet.runtime import standard_streams; standard_streams.prepare()\n"
        "print('not in the file', file=sys.stderr)\n"
        f"print(open({str(tmp_path / 'f')!r}, 'w').fileno() > 2)"
    )
    for before in ("pass", "os.open(os.devnull, os.O_RDONLY)"):
        assert finish(script=script.format(before)) == (0, "True\n", "")
        assert (tmp_path / "f").read_text() == ""


@pytest.mark.attack(
    "hangs", "the reader of stdout and stderr goes away", "the run trains to its end"
)
@pytest.mark.slow
def test_a_reader_that_goes_away_ends_nothing(tmp_path):
    running = process(*faults.command("lenet", tmp_path / "w"))
    running.stderr.close()
    running.stdout.close()
    assert running.wait(300) == 0
    assert '"status": "completed"' in (tmp_path / "w" / "summary.json").read_text()


@pytest.mark.attack("silent", "stdout is a full disk", "one line, exit code 1")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lenet_alexnet", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: [Errno 28] No space left on device; free some space")
    assert done.stderr.count("\n") == 1


@pytest.mark.attack(
    "one line",
    "writes of a failed save call back into a closed event loop",
    "they are not shown; other errors are",
)
def test_callbacks_that_come_too_late_are_quiet(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: shown.append(given.exc_value))
    unexpected.quiet_callbacks()
    other = RuntimeError("another")
    for error in (RuntimeError("Event loop is closed"), other):
        sys.unraisablehook(SimpleNamespace(exc_value=error))
    assert shown == [other]


@pytest.mark.attack(
    "one line",
    "the disk is full while many files are written at once",
    "one error line, no traceback",
)
@pytest.mark.slow
def test_a_save_that_fails_is_one_error_line(tmp_path):
    """Many writes at once hit a file size limit, as on a full disk."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20480, 20480))\n"
    script = limit + "from lenet_alexnet.cli import run; run()"
    code, _, err = finish(*faults.command("lenet", tmp_path), script=script)
    assert code == 1
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        err.splitlines()[-1]
    ]


@pytest.mark.attack(
    "one line", "no home directory and no user name", "one line, or a cache elsewhere"
)
def test_no_home_and_no_name(tmp_path, monkeypatch, capsys):
    def unknown(*_):
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    import jax

    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    backend.set_up()
    assert backend._cache().is_dir()
    assert main(["x", "data", "list"]) == 2
    assert "no home directory is known for ~" in last_line(capsys)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert main(["x", "data", "list"]) == 0


@pytest.mark.attack("silent", "~ in the value of a flag", "the home directory; no folder called ~")
def test_paths_and_flags_as_people_write_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.py").write_text(
        (ROOT / "configs" / "lenet5_quickstart.py").read_text(), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        "lenet_alexnet.training.loop.train_and_evaluate",
        lambda config, workdir, **_: (
            seen.append(workdir) or {"eval": {}, "epoch": 1, "train_seconds": 1}
        ),
    )
    assert main(["x", "train", "--config=~/c.py", "--workdir=~/run"]) == 0
    assert seen == [tmp_path / "run"]
    assert main(["x", "eval", "--workdir=~/a,~/b", "--data-dir=~/d"]) == 2
    assert f"'{tmp_path}/a' is no run directory" in last_line(capsys)
    found = []
    monkeypatch.setattr(builders, "load_split", lambda **given: found.append(given["data_dir"]))
    from tests.helpers.tiny_configs import make_tiny_config

    config = make_tiny_config()
    config.data.data_dir = "~/digits"
    builders.load(config, "train")
    assert found == [f"{tmp_path}/digits"]


def test_help_aligns_its_flags(capsys):
    for name in ("train", "sweep", "eval"):
        assert main(["x", name, "--help", QUICK]) == 0
        rows = capsys.readouterr().out.splitlines()[4:]
        assert rows
        assert all(row.split("--")[1].split("  ")[0].isidentifier() or "-" in row for row in rows)
        assert len({len(row) - len(row[2:].partition(" ")[2].lstrip()) for row in rows}) == 1


@pytest.mark.attack(
    "silent",
    "get_config() exits or returns another config at its second call",
    "one line, exit code 2",
)
def test_a_config_file_is_called_alike_each_time(tmp_path, capsys):
    body = (ROOT / "configs" / "lenet5_quickstart.py").read_text()
    for end, message in (
        (
            "    import sys; n.append(1); len(n) > 1 and sys.exit(0)\n    return config",
            "SystemExit",
        ),
        ("    n.append(1)\n    config.seed = len(n)\n    return config", "differ (seed: 1 -> 2)"),
    ):
        text = body.replace("    return config.lock()", end) + "\n\nn = []\n"
        (tmp_path / "c.py").write_text(text)
        assert main(["x", "info", f"--config={tmp_path / 'c.py'}"]) == 2
        assert message in last_line(capsys)


@pytest.mark.attack(
    "foreign",
    "optax.py in the folder above a config file",
    "the installed package is imported; a folder that everyone may write to is not searched",
)
@pytest.mark.slow
def test_the_folder_above_a_config_stands_in_for_no_package(tmp_path):
    (tmp_path / "up" / "me").mkdir(parents=True)
    body = (ROOT / "configs" / "lenet5_quickstart.py").read_text()
    (tmp_path / "up" / "optax.py").write_text("raise ImportError('planted')")
    (tmp_path / "up" / "shared_base.py").write_text("")
    config = tmp_path / "up" / "me" / "c.py"
    config.write_text(f"import optax\nimport shared_base\n{body}")
    code, _, err = finish("info", f"--config={config}")
    assert (code, err) == (0, "")
    (tmp_path / "up").chmod(0o777)  # like /tmp: anyone may have put files there
    code, _, err = finish("info", f"--config={config}")
    assert code == 2
    assert "No module named 'shared_base'" in err


INCOMPLETE = [
    ("del c.train.loss", "has no entry 'train.loss.name'"),
    ("del c.checkpoint.keep", "has no entry 'checkpoint.keep'"),
    ("del c.parallel", "has no entry 'parallel."),
    ("c.seed = None", "seed = None is no int"),
    ("c.optimizer.learning_rate = None", "learning_rate = None is no float"),
    ("c.train = None", "has no entry 'train."),
    ("c.train.hook = print", "is no number, text or list"),
    ("c.train.log_evry = '1 epoch'", "did you mean 'train.log_every'?"),
]


@pytest.mark.attack(
    "one line",
    "a config file lacks an entry, or has None or a function in it",
    "one line names the entry, exit code 2",
)
@pytest.mark.parametrize(("line", "message"), INCOMPLETE)
def test_a_config_that_is_not_whole_is_refused(tmp_path, capsys, line, message):
    (tmp_path / "c.py").write_text(
        "from lenet_alexnet import config as configs\ndef get_config():\n"
        f"    c = configs.load('{ROOT}/configs/lenet5_quickstart.py').get_config().unlock()\n"
        f"    {line}\n    return c\n"
    )
    assert main(["x", "info", f"--config={tmp_path / 'c.py'}"]) == 2
    assert message in last_line(capsys)
