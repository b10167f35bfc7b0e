"""Runs docs/files/train.sbatch and a small sweep on a real one-node Slurm cluster: make test-slurm.

As root on Debian it installs slurmctld, slurmd and munge, starts them with a configuration in a
temporary folder, and stops them again. Elsewhere it prints that and does nothing.
"""

import contextlib
import csv
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUCK_AFTER = 20  # seconds
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port_d}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=60 State=UP
"""
SWEEP = '''"""Three trials for Slurm: two that train, one that diverges."""
import lenet5_quickstart

def get_config():
    config = lenet5_quickstart.get_config().unlock()
    config.model.activation = "relu"
    config.optimizer = {"name": "sgd", "learning_rate": 0.01, "schedule": {"name": "constant"}}
    config.train.update(duration="8 epochs", log_every="50 steps")
    config.eval.every = config.checkpoint.every = "1 epoch"
    config.launch.update(partition="test", time_limit=10)
    return config.lock()

def sweep():
    return [{"learning_rate": rate} for rate in (0.01, 0.02, 1e30)]
'''


def main() -> int:
    """Returns 0 if the job and the sweep work, or if there is no Slurm to test it with."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        print("skipped: a cluster can be set up as root on Debian only")
        return 0
    missing = [name for name in PACKAGES if not installed(name)]
    if missing:
        print(f"installing {', '.join(missing)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    try:
        with cluster(folder):
            check_train(folder)
            check_sweep(folder)
    except BaseException:
        for log in folder.glob("*.log"):
            print(f"-- {log}\n{log.read_text()[-2000:]}", file=sys.stderr)
        raise
    shutil.rmtree(folder)
    print("slurm: all as it should be")
    return 0


def installed(package: str) -> bool:
    """Whether dpkg has this package."""
    query = ["dpkg-query", "-W", "-f=${Status}", package]
    return "ok installed" in subprocess.run(query, capture_output=True, text=True).stdout


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Runs munged, slurmctld and slurmd during the block."""
    host = socket.gethostname().split(".")[0]
    port, port_d = free_ports(2)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    text = CONF.format(host=host, folder=folder, cpus=os.cpu_count(), port=port, port_d=port_d)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    files = [f"--{name}={folder}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
    munged = ["/usr/sbin/munged", "--foreground", "--force", f"--key-file={key}", *files]
    commands = (
        [*munged, f"--socket={folder}/munge/socket"],
        ["/usr/sbin/slurmctld", "-D"],
        ["/usr/sbin/slurmd", "-D"],
    )
    started: list[subprocess.Popen] = []
    with (folder / "daemons.log").open("a") as log:
        try:
            for command in commands:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
                time.sleep(1)
            wait_for(lambda: "idle" in output("sinfo", "--noheader", "--format=%T"), "a node")
            yield
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(timeout=30)


def free_ports(count: int) -> list[int]:
    """Free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def output(*command: str) -> str:
    """What a command prints, for any exit code."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Waits until the condition holds; ends the program if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def check_train(folder: Path) -> None:
    """The sbatch file with two processes, one of which is stopped: the job is queued again."""
    work, log = folder / "train", folder / "train.log"
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "RUN": f"{sys.executable} -m lenet_alexnet",
        "CONFIG": f"{ROOT}/tests/helpers/linear.py",
        "WORKDIR": str(work),
    }
    here = ["--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", "--gpus-per-node=0"]
    options = [*here, "--overcommit", "--time=30", f"--output={log}"]
    flags = ["--config.train.duration=20000 steps", f"--stuck-after={STUCK_AFTER}"]
    file = str(ROOT / "docs/files/train.sbatch")
    subprocess.run(["sbatch", *options, file, *flags], check=True, env=environment, cwd=folder)
    wait_for(lambda: any(work.glob("checkpoints/[0-9]*")), "a checkpoint", 600)
    print("stopping one of two processes")
    os.kill(task(work, 1), signal.SIGSTOP)
    wait_for(lambda: "stuck: process 1 on " in log.read_text(), "its end", 8 * STUCK_AFTER)
    print("waiting until the job is queued again, and ends")
    wait_for(lambda: (work / "summary.json").exists(), "the end of the job", 900)
    text = log.read_text()
    assert '"status": "completed"' in (work / "summary.json").read_text(), text
    assert "resuming at step" in text, text


def task(work: Path, number: int) -> int:
    """The process of a task of the job that trains in `work`."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_text().split("\0")
            mine = f"--workdir={work}" in words and words[1:3] == ["-m", "lenet_alexnet"]
            if mine and f"SLURM_PROCID={number}" in (place / "environ").read_text().split("\0"):
                return int(place.name)
    sys.exit(f"no process of task {number}")


def check_sweep(folder: Path) -> None:
    """A sweep of three trials, one of which is preempted, and the same command again."""
    config, work = folder / "three.py", folder / "sweep"
    config.write_text(SWEEP)
    shutil.copy(ROOT / "configs" / "lenet5_quickstart.py", folder)
    command = [sys.executable, "-m", "lenet_alexnet", "sweep", f"--config={config}"]
    command += [f"--workdir={work}", "--executor=slurm"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    launcher = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        wait_for(lambda: bool(saved(work)), "a checkpoint", 300)
        victim = saved(work)[0].parents[1]
        name = (victim / "slurm.json").read_text().split('"')[3]
        print(f"requeueing {name}, which trains {victim.name}")
        subprocess.run(["scontrol", "requeue", name], check=True)
        launcher.wait(timeout=500)
    finally:
        launcher.terminate()
    with (work / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    statuses = [row["status"] for row in rows]
    assert statuses == ["completed", "completed", "diverged"], statuses
    log = (work / "logs" / f"{victim.name}.log").read_text()
    assert "resuming at step" in log, log
    started = [(work / "trials" / row["trial"] / "run.json").stat().st_mtime for row in rows]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    after = [(work / "trials" / row["trial"] / "run.json").stat().st_mtime for row in rows]
    assert started == after, "a trial that had ended ran again"


def saved(work: Path) -> list[Path]:
    """The checkpoints so far."""
    return [path for path in work.glob("trials/*/checkpoints/*") if path.name.isdigit()]


if __name__ == "__main__":
    sys.exit(main())
