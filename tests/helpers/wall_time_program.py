"""Spends time on each part of a run in turn until it is killed: WORKDIR FIRST_STEP."""

import sys
import time
from pathlib import Path

from lenet_alexnet.runs.wall_time import COMPILE, EVALUATION, SAVING, STEPS, WallTime
from lenet_alexnet.runtime.age import process_began

if __name__ == "__main__":
    with WallTime([Path(sys.argv[1])], process_began()) as times:
        times.go_to(int(sys.argv[2]))
        with times.spent_on(COMPILE):
            time.sleep(0.2)
        while True:
            with times.spent_on(STEPS):
                time.sleep(0.02)
                times.step += 10
                times.waited += 0.005
            for part in (EVALUATION, SAVING):
                with times.spent_on(part):
                    time.sleep(0.01)
