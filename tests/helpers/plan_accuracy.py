"""Runs `--plan` and then what it plans, and prints both times and their ratio.

    python -m tests.helpers.plan_accuracy train --config=configs/lenet5_mnist.py
    python -m tests.helpers.plan_accuracy sweep --config=configs/sweeps/lenet5_lr_seeds.py

The machine must be idle. The real run is in a temporary folder.
"""

import json
import subprocess
import sys
import tempfile
import time


def main(*command: str) -> None:
    """Times both."""
    with tempfile.TemporaryDirectory() as workdir:
        whole = [sys.executable, "-m", "lenet_alexnet", *command, f"--workdir={workdir}/w"]
        start = time.monotonic()
        done = subprocess.run([*whole, "--plan", "--json"], stdout=subprocess.PIPE, check=True)
        answered = time.monotonic() - start
        plan = json.loads(done.stdout)
        start = time.monotonic()
        subprocess.run(whole, check=True)
        took = time.monotonic() - start
    between = f"{plan['lowest']:.1f} to {plan['highest']:.1f} s"
    print(f"the plan, answered in {answered:.1f} s: {plan['seconds']:.1f} s ({between})")
    print(f"the real run: {took:.1f} s; plan / run = {plan['seconds'] / took:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
