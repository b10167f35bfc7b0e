"""The data in a pickle, without running it: an interpreter of the opcodes that data needs.

Python's own `pickle` imports and calls what a file names. Here a name is only looked up in a closed
list, and what stands for it is our own function. The opcodes are those of `pickletools`.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lenet_alexnet.weights.weight_file import Unreadable

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = {"PROTO", "FRAME"}


class Global(NamedTuple):
    """A name that the pickle would import, such as torch.FloatStorage."""

    name: str


def load(
    data: bytes, makers: Mapping[str, Callable[..., Any]], storage: Callable[[Any], Any]
) -> Any:
    """The object that a pickle describes.

    Args:
      data: the pickle.
      makers: what stands for each name that the pickle may use; a call of the name calls this.
      storage: what stands for a persistent id.

    Raises:
      Unreadable: another name, an opcode that data does not need, or a damaged pickle.
    """
    machine = _Machine(makers, storage)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except Unreadable:
        raise
    except Exception as error:  # A broken pickle leads to many kinds.
        raise Unreadable("its pickle is damaged") from error
    raise Unreadable("its pickle is truncated")


class _Machine:
    """The stack, the marks and the memo of a pickle."""

    def __init__(
        self, makers: Mapping[str, Callable[..., Any]], storage: Callable[[Any], Any]
    ) -> None:
        self._makers, self._storage = makers, storage
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        """The top of the stack."""
        return self._stack.pop()

    def step(self, name: str, argument: Any) -> None:
        """Follows one opcode."""
        if name in IGNORED:
            return
        if name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        elif name in LITERALS:
            self._stack.append(argument)
        elif name in EMPTY:
            self._stack.append(EMPTY[name]())
        elif name == "MARK":
            self._marked.append(self._stack)
            self._stack = []
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID"):
            self._name_or_call(name, argument)
        else:
            self._collect(name)

    def _name_or_call(self, name: str, argument: Any) -> None:
        if name == "GLOBAL":
            self._stack.append(self._known(argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            last, module = self.pop(), self.pop()
            self._stack.append(self._known(f"{module}.{last}"))
        elif name == "BINPERSID":
            self._stack.append(self._storage(self.pop()))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            if not isinstance(function, Global):
                raise Unreadable("its pickle calls what is no function")
            self._stack.append(self._makers[function.name](*arguments))
        else:  # BUILD: the attributes of a state dict (its versions), which are not needed.
            self.pop()
            if not isinstance(self._stack[-1], dict):
                raise Unreadable("its pickle sets attributes of what is no dict")

    def _known(self, name: str) -> Global:
        if name not in self._makers:
            raise Unreadable(
                f"it is no plain state dict: opening it would import {name!a:.80}, which can be "
                "code; save model.state_dict() alone"
            )
        return Global(name)

    def _collect(self, name: str) -> None:
        """The opcodes that put values together."""
        if name in TUPLES:
            count = TUPLES[name]
            if len(self._stack) < count:
                raise Unreadable("its pickle is damaged")
            self._stack[-count:] = [tuple(self._stack[-count:])]
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            _dict(self._stack[-1])[key] = value
        elif name == "APPEND":
            value = self.pop()
            self._stack[-1].append(value)
        elif name in ("TUPLE", "SETITEMS", "APPENDS"):
            values, self._stack = self._stack, self._marked.pop()
            if name == "TUPLE":
                self._stack.append(tuple(values))
            elif name == "APPENDS":
                self._stack[-1].extend(values)
            else:
                _dict(self._stack[-1]).update(zip(values[::2], values[1::2], strict=True))
        else:
            raise Unreadable(f"its pickle has the opcode {name}, which a state dict does not need")


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise Unreadable("its pickle is damaged")
    return value
