"""A factor of each layer's learning rate: lower layers of a trained network need smaller steps."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from lenet_alexnet.errors import UsageError


def scale_layers(factors: Mapping[str, Any]) -> optax.GradientTransformation:
    """Multiplies a layer's updates, which are proportional to its rate, by its factor.

    Args:
      factors: by layer, the first level of the parameters; other layers have 1.

    Raises:
      UsageError: a factor is no number of at least 0.
    """
    for name, factor in factors.items():
        if isinstance(factor, bool) or not isinstance(factor, int | float) or factor < 0:
            raise UsageError(f"optimizer.layer_rate.{name} {factor!r} is no number of at least 0")

    def scale(path: Any, update: Any) -> Any:
        name = path[0].key
        return update * factors[name] if name in factors else update

    return optax.stateless(lambda updates, params: jax.tree_util.tree_map_with_path(scale, updates))
