"""The commit of the package's checkout, for the record of a run."""

import subprocess
from pathlib import Path
from typing import Any

from lenet_alexnet.config import shipped

# Changed code; new records in experiments/ change no run.
CHANGED = ("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)experiments")


def checkout() -> dict[str, Any]:
    """The commit of the package's checkout (None outside one), and whether it is changed."""
    if shipped.IN_WHEEL:  # A repository around it is another project's.
        return {"git_commit": None, "git_dirty": False}
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git(*CHANGED)),
    }


def _git(*arguments: str) -> str | None:
    """The output of a git command in the package's checkout; None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
