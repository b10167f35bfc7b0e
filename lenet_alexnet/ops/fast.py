"""Errors for what the fast forms of operations cannot do; they name the plain form.

Their gradients are written by hand, for reverse mode only, and some exist only on this machine.
"""

from typing import Any

from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from lenet_alexnet.errors import UsageError

PLAIN = "create the model with conv_form='plain' (model.conv_form), the default outside the CLI"


def mark(x: Array) -> Array:
    """The same array, marked as the input of a fast form.

    Raises:
      UsageError: in forward mode, in `jax.export`, and for a batch whose size is a symbol.
    """
    require_numbers(x.shape)
    return _mark.bind(x, tangent=False)


def require_numbers(shape: tuple[Any, ...]) -> None:
    """Raises UsageError if a size is a symbol, as in an export for any batch."""
    if any(not isinstance(n, int) for n in shape):
        raise UsageError(f"fast forms of operations take no symbolic shapes: {PLAIN}")


_mark = Primitive("lenet_alexnet_fast")


def _run(x: Any, *, tangent: bool) -> Any:
    """A tangent that is computed, not transposed, means forward mode."""
    if tangent:
        raise UsageError(
            "fast forms of operations have no forward-mode derivatives (jvp, jacfwd, hessian): "
            + PLAIN
        )
    return x


def _lower(context: Any, x: Any, *, tangent: bool) -> Any:
    if context.module_context.lowering_parameters.for_export:
        raise UsageError(f"fast forms of operations cannot be exported (jax.export): {PLAIN}")
    return [_run(x, tangent=tangent)]


def _jvp(primals: Any, tangents: Any, *, tangent: bool) -> Any:
    (x,), (t,) = primals, tangents
    out = _mark.bind(x, tangent=tangent)
    return out, t if isinstance(t, ad.Zero) else _mark.bind(t, tangent=True)


_mark.def_impl(_run)
_mark.def_abstract_eval(lambda x, *, tangent: x)
ad.primitive_jvps[_mark] = _jvp
ad.primitive_transposes[_mark] = lambda g, x, *, tangent: [g]
batching.defvectorized(_mark)
mlir.register_lowering(_mark, _lower)
