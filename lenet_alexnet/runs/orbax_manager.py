"""Orbax's manager of a run's checkpoints: which it keeps, and how a save ends."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet_alexnet.runs import integrity


def open_manager(folder: Path, *, keep: int, read_only: bool, check: Callable[[], None]) -> Any:
    """An orbax `CheckpointManager` of two items, "variables" and "rest".

    It keeps the last `keep` checkpoints and the one with the smallest "top1_error"; it moves the
    others to `integrity.REMOVED`. For `check`, see `checkpoints.Checkpoints`.
    """
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers as managers

    # Orbax logs a dozen lines per save; its errors are exceptions anyway.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def top1_error(metrics: dict[str, float]) -> float:
        return metrics["top1_error"]

    best = managers.BestN(  # `reverse`: the smallest is the best
        get_metric_fn=top1_error, reverse=True, n=1, keep_checkpoints_without_metrics=False
    )
    return ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(keep), best]),
            best_fn=top1_error,  # Without it, orbax does not write the metrics.
            best_mode="min",
            todelete_subdir=integrity.REMOVED,
            create=not read_only,
            read_only=read_only,
            lightweight_initialize=read_only,  # Damaged ones must not matter.
            temporary_path_class=_with_sums(check),
        ),
        item_names=("variables", "rest"),
    )


def _with_sums(check: Callable[[], None]) -> type:
    """Orbax's rename at the end of a save, with the checksums written just before.

    Orbax creates missing folders, so `check` is called at both ends.
    """
    from orbax.checkpoint import path as paths

    class WithSums(paths.atomicity.AtomicRenameTemporaryPath):
        async def create(self) -> Any:
            check()
            return await super().create()

        async def finalize(self) -> None:
            check()
            if self.get_final().name.isdecimal():  # A checkpoint; else one of its items.
                integrity.write_sums(Path(self.get()))
            await super().finalize()

    return WithSums


def reason(error: Exception) -> str:
    """One line for an exception of many: the system's message, if there is one."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    system = re.search(r": ([^:]+) \[os_error_code", line)  # Tensorstore adds pages to it.
    return system[1] if system else line[:200]
