"""Runs that are stopped, and their files."""

import json


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def comparable(workdir):
    """Every line of the log without the entries that depend on time."""
    return [
        {k: v for k, v in row.items() if k not in ("time", "images_per_second")}
        for row in rows(workdir)
    ]


def stop_after(polls):
    """Asks to stop at the given number of dispatches."""
    count = 0

    def stop_requested():
        nonlocal count
        count += 1
        return count >= polls

    return stop_requested
