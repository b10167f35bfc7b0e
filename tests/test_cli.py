"""The command line as users see it: output, one clear line per mistake, exit codes."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lenet_alexnet.cli import main
from tests.helpers import ROOT, processes
from tests.helpers.processes import wait_for

QUICKSTART = f"--config={ROOT}/configs/lenet5_quickstart.py"


def call(capsys, *arguments):
    code = main(["lenet-alexnet", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_the_commands(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert all(name in out for name in ("train", "eval", "predict", "info", "data"))
    code, out, _ = call(capsys, "predict", "--help")
    assert code == 0
    assert "--top" in out


def test_help_is_light():
    """It imports neither JAX nor the data libraries, so it takes less than a second."""
    script = (
        "import sys; from lenet_alexnet.cli import main; main(['x', '--help']);"
        "print([m for m in ('jax', 'flax', 'orbax', 'tensorflow_datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_overriding_a_switch_of_the_model_leaves_xla_quiet(tmp_path):
    """JAX reads its log level when it is imported, and such an override imports it."""
    script = (
        "import os, sys; from lenet_alexnet.cli import main; main(sys.argv[1:]);"
        "print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    flags = ["x", "info", QUICKSTART, "--config.model.dtype=bfloat16"]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", script, *flags],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "3"


def test_importing_the_package_is_light():
    script = (
        "import sys; import lenet_alexnet.models, lenet_alexnet.training.step, lenet_alexnet.data;"
        "print([m for m in ('orbax', 'tensorflow_datasets', 'matplotlib', 'tensorflow')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_info_counts(capsys):
    code, out, _ = call(capsys, "info", f"--config={ROOT}/configs/lenet5_mnist.py", "--json")
    assert code == 0
    assert json.loads(out)["total_params"] == 61706
    code, out, _ = call(capsys, "info", QUICKSTART)
    assert "61,706" in out.splitlines()[-1]


MISTAKES = [
    ([QUICKSTART, "--config.optimizer.leraning_rate=1"], "did you mean 'optimizer.learning_rate'"),
    ([QUICKSTART, "--config.optimzer.learning_rate=1"], "did you mean 'optimizer.learning_rate'"),
    ([QUICKSTART, "--config.seed.x=1"], "did you mean 'seed'"),
    ([QUICKSTART, "--config.optimizer.learning_rate=fast"], "could not convert string to float"),
    ([QUICKSTART, "--config.seed=1.5"], "--config.seed=1.5"),
    ([QUICKSTART, "--config.data=3"], "not a dict"),
    ([QUICKSTART, "--workdri=x"], "did you mean 'workdir'"),
    ([QUICKSTART, "extra"], "'extra' is not expected here"),
    ([QUICKSTART, "--config.model.name=lenet4"], "did you mean 'lenet5'"),
    ([QUICKSTART, "--config.model.activation=tahn"], "did you mean 'tanh'"),
    ([QUICKSTART, "--config.optimizer.name=adamww"], "did you mean 'adamw'"),
    (
        [QUICKSTART, "--config.optimizer.name=adam", "--config.optimizer.weight_decay=1"],
        "'adam' has no option 'weight_decay' (sgd",
    ),
    ([QUICKSTART, "--config.optimizer.lr=1"], "did you mean 'optimizer.learning_rate'?"),
    ([QUICKSTART, "--config.optimizer.qqq=1"], "known: optimizer.b1, optimizer.b2"),
    ([QUICKSTART, "--config.train.epochs=1"], "did you mean 'train.duration'?"),
    ([QUICKSTART, "--epochs=3"], "did you mean --config.train.duration?"),
    ([QUICKSTART, "--batch-size=3"], "or --config.train.batch_size?"),
    ([QUICKSTART, "--config.model.num_classes=11"], "11 is not the data's 10"),
    ([QUICKSTART, "--config.model.num_classes=99999999999999999999"], "is more than 2147483647"),
    ([QUICKSTART, "--config.train.steps_per_dispatch=99999999999999999999"], "is more than"),
    ([QUICKSTART, "--config.data.variants=1000000000"], "are too many"),
    ([QUICKSTART, "--config.data.train=\udcff"], "is no text"),
    ([QUICKSTART, "--workdir="], "--workdir is empty"),
    ([QUICKSTART, "--config.optimizer.schedule.name=cosin"], "did you mean 'cosine'"),
    ([QUICKSTART, "--config.train.loss.name=sofmax"], "softmax"),
    ([QUICKSTART, "--config.train.precision=fp32"], "float32"),
    ([QUICKSTART, "--config.train.matmul_precision=hig"], "did you mean 'high'"),
    ([QUICKSTART, "--config.train.duration=3 epoks"], "did you mean 'epochs'"),
    ([QUICKSTART, "--config.train.batch_size=4001"], "not within 1..4000"),
    ([QUICKSTART, "--config.train.batch_size=0"], "not within 1..4000"),
    ([QUICKSTART, "--config.data.source=embeded"], "did you mean 'embedded'"),
    ([QUICKSTART, "--config.data.train=trian"], "known: test, train"),
    ([QUICKSTART, "--config.train.steps_per_dispatch=0"], "steps_per_dispatch"),
    ([QUICKSTART, "--config.eval.batch_size=0"], "eval.batch_size"),
    ([QUICKSTART, "--config.train.log_every=0 steps"], "log_every"),
    ([QUICKSTART, "--config.optimizer.name=sdlm"], "trains the networks of 1998, not 'lenet5'"),
    ([QUICKSTART, "--config.data.distort.shift=big"], "could not convert"),
    ([QUICKSTART, "--config.model.num_classes=5"], "num_classes"),
    ([], "--config=FILE is missing"),
    (["--config=nowhere.py"], "no config file 'nowhere.py'"),
    (["--config=lenet5_quikstart"], "no config 'lenet5_quikstart': did you mean 'lenet5_quick"),
    (["--config=sweeps/lenet5_lr_sedes"], "did you mean 'sweeps/lenet5_lr_seeds'?"),
    (["--config=elsewhere/sweeps/lenet5_lr_seeds.py"], "has it: --config=sweeps/lenet5_lr_seeds"),
]


@pytest.mark.attack(
    "one line",
    "unknown flags and entries, values of a wrong type, an empty workdir",
    "one line, exit code 2",
)
@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_in_train_are_one_line_and_exit_code_2(capsys, tmp_path, arguments, message):
    code, _, err = call(capsys, "train", f"--workdir={tmp_path / 'w'}", *arguments)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.attack("one line", "config files that raise or exit", "one line, exit code 2")
def test_config_files_that_fail(capsys, tmp_path):
    for content, message in [
        ("x = 1", "has no get_config()"),
        ("def get_config(:", "SyntaxError"),
        ("import nonexistent_module", "nonexistent_module"),
        (
            "from lenet_alexnet import config\ndef get_config():\n"
            "  c = config.base()\n  c.lock()\n  c.train.batchsize = 3\n  return c",
            "batch_size",
        ),
    ]:
        path = tmp_path / "broken.py"
        path.write_text(content)
        code, _, err = call(capsys, "train", f"--config={path}", "--workdir=w")
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err


@pytest.mark.attack("one line", "wrong flags of the other commands", "one line, exit code 2")
def test_mistakes_elsewhere(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, expected, message in [
        (["trian"], 2, "did you mean 'train'"),
        (["train", QUICKSTART], 2, "--workdir is missing"),
        (["train", QUICKSTART, f"--workdir={tmp_path}/file"], 2, "is not writable"),
        (["eval", f"--workdir={tmp_path}"], 2, "is no run directory"),
        (["eval", f"--workdir={tmp_path}", "--checkpoint=bets"], 2, "best"),
        (["predict", f"--workdir={tmp_path}"], 2, "no images"),
        (["data", "prepre"], 2, "did you mean 'prepare'"),
        (["data", "prepare"], 2, "takes one name"),
        (["data", "prepare", "minst"], 2, "did you mean 'mnist'"),
        (["configs", "lsit"], 2, "did you mean 'list'"),
        (["configs", "list", "lenet5_mnist"], 2, "configs list takes no name"),
        (["configs", "show"], 2, "configs show takes one name"),
        (["configs", "show", "lenet5_minst"], 2, "did you mean 'lenet5_mnist'"),
        (["configs", "copy", "a", "b", "c"], 2, "at most one folder"),
        (["configs", "copy", "lenet5_mnist", f"{tmp_path}/file"], 2, "cannot copy to"),
        (
            ["data", "prepare", "mnist", f"--from={tmp_path}", f"--data_dir={tmp_path}"],
            1,
            "no file",
        ),
        (["data", "check", "mnist", f"--data_dir={tmp_path}"], 2, "no prepared data set"),
    ]:
        code, _, err = call(capsys, *arguments)
        assert (code, err.count("\n")) == (expected, 1), err
        assert message in err


@pytest.fixture
def _no_process_stays():
    yield
    processes.end_all()


def start(workdir, *more):
    return processes.start(
        ["-m", "lenet_alexnet", "train", QUICKSTART, f"--workdir={workdir}", *more], 1
    )


@pytest.mark.usefixtures("_no_process_stays")
@pytest.mark.slow
def test_sigterm_saves_and_exits_with_75_and_the_same_command_goes_on(tmp_path):
    more = ["--config.data.train=train[:2000]", "--config.data.test=test[:100]"]
    more += ["--config.train.duration=8 epochs", "--config.train.log_every=25 steps"]
    process = start(tmp_path, *more)
    log = tmp_path / "metrics.jsonl"
    wait_for(lambda: log.exists() and log.read_text())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "interrupted"
    process = start(tmp_path, *more)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "resuming at step" in err
    assert "test error" in out
    assert str(tmp_path) in out
