"""Checkpoints by orbax: the last few and the best, written while training goes on."""

import logging
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet.errors import DataError
from lenet_alexnet.step import TrainState


class Checkpoints:
    """The checkpoints of one run, by completed steps.

    A checkpoint saved with an evaluation's top-1 error takes part in the choice of the best.
    """

    def __init__(self, folder: Path, keep: int = 2, *, read_only: bool = False) -> None:
        import orbax.checkpoint as ocp
        from orbax.checkpoint import checkpoint_managers as managers

        # Orbax says a dozen lines a save; its errors come as exceptions all the same.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._ocp = ocp

        def top1_error(metrics: dict[str, float]) -> float:
            return metrics["top1_error"]

        best = managers.BestN(  # `reverse`: the smallest is the best
            get_metric_fn=top1_error, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        self._manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(keep), best]),
                best_fn=top1_error,  # Without it orbax does not write the metrics.
                best_mode="min",
                create=not read_only,
                read_only=read_only,
            ),
            item_names=("state",),
        )

    def save(self, step: int, state: TrainState, top1_error: float | None) -> None:
        """Starts a save; returns once the state is copied to the host."""
        metrics = None if top1_error is None else {"top1_error": top1_error}
        save = self._ocp.args.Composite(state=self._ocp.args.StandardSave(state))
        self._manager.save(step, args=save, metrics=metrics, force=True)

    def latest(self) -> int | None:
        """The newest checkpoint's step."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step with the smallest top-1 error, the later of equals."""
        return self._manager.best_step()

    def restore(self, step: int, template: TrainState) -> TrainState:
        """The state saved at `step`; `template` gives its structure, types and devices.

        Raises:
          DataError: the checkpoint does not fit the template or cannot be read.
        """
        abstract = jax.tree.map(self._ocp.utils.to_shape_dtype_struct, template)
        return self._restore(step, self._ocp.args.StandardRestore(abstract))

    def restore_params(self, step: int) -> Any:
        """The parameters saved at `step`, on the default device, wherever they were saved.

        Raises:
          DataError: the checkpoint cannot be read.
        """
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        tree = self._manager.item_metadata(step)["state"].tree
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), tree
        )
        return self._restore(step, self._ocp.args.StandardRestore(abstract))["params"]

    def _restore(self, step: int, restore: Any) -> Any:
        try:
            return self._manager.restore(step, args=self._ocp.args.Composite(state=restore))["state"]
        except Exception as error:  # Orbax and tensorstore raise many kinds.
            line = str(error).strip().split("\n")[0]
            raise DataError(
                f"cannot restore checkpoint {step} in {self._manager.directory}: {line}"
            ) from error

    def wait(self) -> None:
        """Returns when every save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        self._manager.close()

