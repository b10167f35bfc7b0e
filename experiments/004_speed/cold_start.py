"""Seconds from an empty compilation cache to 99.05 % on MNIST's test images, for five seeds.

python experiments/004_speed/cold_start.py DATA_DIR > experiments/004_speed/cold_start.txt
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ERROR = 0.0095  # LeCun et al. 1998, sec. III.C
SEEDS = range(5)


def seconds(seed: int, data_dir: str) -> tuple[float, list[dict], dict]:
    """From the process's start to the first epoch below ERROR; its line and the last; run.json."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            "lenet_alexnet",
            "train",
            "--config=configs/lenet5_mnist.py",
            f"--workdir={workdir}",
            f"--config.data.data_dir={data_dir}",
            f"--config.seed={seed}",
        ]
        start = time.time()
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
        tests = [line for line in lines if line["split"] == "test"]
        hit = next(line for line in tests if line["top1_error"] <= ERROR)
        return hit["time"] - start, [hit, tests[-1]], json.loads((workdir / "run.json").read_text())


def main(data_dir: str) -> None:
    """A line for each seed, and the mean."""
    found, errors = [], []
    for seed in SEEDS:
        took, (line, last), run = seconds(seed, data_dir)
        found.append(took)
        errors.append(100 * last["top1_error"])
        print(
            f"seed {seed}: {took:.1f} s, epoch {line['epoch']:.0f}, "
            f"{100 * line['top1_error']:.2f} % error, commit {run['git_commit'][:12]}, "
            f"{run['cpu_count']} cores; after the last epoch {errors[-1]:.2f} %",
            flush=True,
        )
    print(
        f"mean {statistics.fmean(found):.1f} s; after the last epoch "
        f"{statistics.fmean(errors):.3f} +- {statistics.stdev(errors):.3f} %"
    )


if __name__ == "__main__":
    main(sys.argv[1])
