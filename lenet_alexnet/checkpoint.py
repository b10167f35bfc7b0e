"""Checkpoints by orbax: the last few and the best, written while training goes on."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet.errors import DataError
from lenet_alexnet.step import TrainState


class Checkpoints(contextlib.AbstractContextManager):
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
            item_names=("params", "rest"),
        )

    def save(self, step: int, state: TrainState, top1_error: float | None) -> None:
        """Starts a save; returns once the state is copied to the host."""
        metrics = None if top1_error is None else {"top1_error": top1_error}
        ocp = self._ocp
        # Two items: parameters are opened without knowing the optimizer.
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            rest=ocp.args.StandardSave(state.replace(params=None)),
        )
        self._manager.save(step, args=items, metrics=metrics, force=True)

    def latest(self) -> int | None:
        """The newest checkpoint's step."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """The steps of all checkpoints that are whole."""
        return list(self._manager.all_steps())

    def best(self) -> int | None:
        """The step with the smallest top-1 error, the later of equals."""
        return self._manager.best_step()

    def restore(self, step: int, template: TrainState) -> TrainState:
        """The state saved at `step`; `template` gives its structure, types and devices.

        Raises:
          DataError: the checkpoint does not fit the template or cannot be read.
        """
        rest = self._restore(step, rest=template.replace(params=None))["rest"]
        return rest.replace(params=self.restore_params(step, template.params))

    def restore_params(self, step: int, template: Any) -> Any:
        """The parameters saved at `step`; for arguments and errors see `restore`."""
        return self._restore(step, params=template)["params"]

    def _restore(self, step: int, **templates: Any) -> Any:
        ocp = self._ocp
        items = {
            name: ocp.args.StandardRestore(jax.tree.map(_abstract, tree))
            for name, tree in templates.items()
        }
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax and tensorstore raise many kinds.
            line = str(error).strip().split("\n")[0]
            raise DataError(
                f"cannot restore checkpoint {step} in {self._manager.directory}: {line}"
            ) from error

    def wait(self) -> None:
        """Returns when every save is on disk."""
        self._manager.wait_until_finished()

    def __exit__(self, *_: object) -> None:
        self._manager.close()  # It waits for what is being saved.


def _abstract(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """A leaf's shape and type, and where it goes: to its own devices, or the default one."""
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
