"""Stochastic diagonal Levenberg-Marquardt (LeCun et al. 1998, appendix C, eqs. 18-27).

Each parameter has its own step size eta / (mu + h); h is its mean second derivative on a few
hundred patterns, estimated again before every pass by a second backward pass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from lenet_alexnet.models.layers import scaled_tanh_slope
from lenet_alexnet.models.lenet_1998.layers import Layer
from lenet_alexnet.models.lenet_1998.network import Network1998

Numbers = Float[Array, "..."] | Float[np.ndarray, "..."]  # on the device or on the host
Schedule = Callable[[Int[Array, ""]], Any]

# ---------------------------------------------------------------- the optimizer


class SdlmState(NamedTuple):
    """`step`: updates so far; `curvature`: h of each parameter."""

    step: Int[Array, ""]
    curvature: PyTree[Float[Array, "..."]]


def step_sizes(
    curvature: PyTree[Numbers],
    eta: float | Float[Array, ""],
    mu: float | Float[Array, ""],
    energy: float | Float[Array, ""] = 1.0,
) -> PyTree[Numbers]:
    """Eps = eta / (mu + h), eq. 19 with the regularisation of eq. 21; h of `energy` times E."""
    return jax.tree.map(lambda h: eta / (mu + energy * h), curvature)


def sdlm(
    learning_rate: float | Schedule,
    *,
    mu: float | Float[Array, ""] = 0.02,
    energy: float | Float[Array, ""] = 1.0,
) -> optax.GradientTransformation:
    """Update -eta / (mu + h) * gradient; `learning_rate` is eta, or a function of the step count.

    The state starts with h infinite, so nothing changes until `set_curvature` is called. `energy`
    is a factor of E, hence of the gradient and of h: it only changes the weight of mu. 1 is eqs. 7
    to 9 as printed; EBLearn, by the paper's first author and others, halves the distance.
    """

    def init(params: PyTree) -> SdlmState:
        unknown = jax.tree.map(lambda p: jnp.full_like(p, jnp.inf), params)
        return SdlmState(jnp.zeros([], jnp.int32), unknown)

    def update(
        updates: PyTree, state: SdlmState, params: PyTree | None = None
    ) -> tuple[PyTree, SdlmState]:
        del params
        eta = learning_rate(state.step) if callable(learning_rate) else learning_rate
        sizes = step_sizes(state.curvature, eta, mu, energy)
        updates = jax.tree.map(lambda size, g: -size * (energy * g), sizes, updates)
        return updates, SdlmState(state.step + 1, state.curvature)

    return optax.GradientTransformation(init, update)


def _is_sdlm(node: Any) -> bool:
    return isinstance(node, SdlmState)


def set_curvature(opt_state: PyTree, curvature: PyTree[Float[Array, "..."]]) -> PyTree:
    """The optimizer state with a fresh h, also when `sdlm` is one link of an `optax.chain`."""
    return jax.tree.map(
        lambda node: node._replace(curvature=curvature) if _is_sdlm(node) else node,
        opt_state,
        is_leaf=_is_sdlm,
    )


def get_curvature(opt_state: PyTree) -> PyTree[Float[Array, "..."]]:
    """The h in an optimizer state."""
    (state,) = (n for n in jax.tree.leaves(opt_state, is_leaf=_is_sdlm) if _is_sdlm(n))
    return state.curvature


# ---------------------------------------------------------------- the second backward pass


def curvature(
    model: Network1998, params: PyTree, images: Float[Array, "P H W 1"]
) -> PyTree[Float[Array, "..."]]:
    """The h of each parameter, averaged over P normalised patterns, eqs. 22-27; never negative.

    Departure: the paper gives no start of the recursion for eq. 9. For both losses ours is that of
    eq. 8, d2E/dx2 = 2 for each state below the RBFs (from eq. 7). That of eq. 9, a variance over
    the posterior, goes to 0 as training succeeds.
    """
    layers = model.layers()
    inputs, x = [], jnp.moveaxis(images, -1, 1)
    for layer in layers:
        inputs.append(x)
        x = cast(Array, layer.apply({"params": params[layer.name]}, x))

    top, h = jnp.full_like(x, 2.0), {}
    for layer, below in zip(reversed(layers), reversed(inputs), strict=True):
        total, top = layer_curvature(layer, params[layer.name], below, x, top)
        h[layer.name] = jax.tree.map(lambda leaf: leaf / len(images), total)
        x = below
    return {layer.name: h[layer.name] for layer in layers}


def layer_curvature(
    layer: Layer,
    params: PyTree,
    below: Float[Array, "P ..."],
    states: Float[Array, "P ..."],
    d2_states: Float[Array, "P ..."],
) -> tuple[PyTree[Float[Array, "..."]], Float[Array, "P ..."]]:
    """From d2E/dx2 of a layer's states to h (summed over patterns) and d2E/dx2 of the states below.

    A layer's sums are linear in the parameters and in the inputs. So the transposes of the same
    function, at squared inputs and at squared parameters, compute the sums of eqs. 24, 25 and 27,
    shared weights included; a bias has input 1. A subsampling coefficient gets sum_k d2E/da_k2
    times the sum of the squares of its four inputs (eq. 25 over its four connections).
    """

    def linear(p: PyTree, x: Float[Array, "P ..."]) -> Float[Array, "P ..."]:
        return cast(Array, layer.apply({"params": p}, x, method="linear"))

    d2_sums = (
        d2_states * scaled_tanh_slope(states) ** 2
    )  # eq. 27; the f'' term of eq. 26 is dropped
    _, to_params = jax.vjp(lambda p: linear(p, below**2), params)
    _, to_inputs = jax.vjp(lambda x: linear(jax.tree.map(jnp.square, params), x), below)
    return to_params(d2_sums)[0], to_inputs(d2_sums)[0]


# ---------------------------------------------------------------- report


def step_report(sizes: PyTree[Numbers]) -> dict[str, dict[str, float]]:
    """Range of the step sizes eps by layer and over "all" (the paper, pass 1: 7e-5 .. 0.016)."""
    layers = {name: _flat(leaves) for name, leaves in sizes.items()}
    layers["all"] = np.concatenate(list(layers.values()))
    marks = {
        "min": 0.0,
        "q01": 0.01,
        "q25": 0.25,
        "median": 0.5,
        "q75": 0.75,
        "q99": 0.99,
        "max": 1.0,
    }
    return {
        name: {mark: float(np.quantile(values, q)) for mark, q in marks.items()}
        for name, values in layers.items()
    }


def _flat(leaves: PyTree[Numbers]) -> Float[np.ndarray, " N"]:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(leaves)])
