"""Pickles from outside, read without running what they say: plain containers, numbers, strings, arrays."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cifar_model.data.sources import GLOBALS, fail

# What the pickle of a dictionary of arrays, lists, numbers and strings is made of, in protocols 0 to 5.
_OPCODES = frozenset(
    """PROTO FRAME STOP MARK MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET GLOBAL
    STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE
    SHORT_BINUNICODE BINUNICODE8 LIST EMPTY_LIST APPEND APPENDS DICT EMPTY_DICT SETITEM SETITEMS
    TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3""".split()
)

# Shared tuples nested n deep take 2**n steps to hash: an honest batch has a dozen tuples and few references.
_MAX_TUPLES = _MAX_REFERENCES = 24

# An honest batch takes about 40,000, CIFAR-100 with its file names 400,000; each could make an object of 60 bytes.
_MAX_STEPS = 1 << 19


_WHOLE_NUMBERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "uint8", "int32", "int64")


class PickledArray:
    """Stands in for numpy's array while unpickling, so that NumPy never sees a hostile state."""

    def __init__(self, *arguments: Any):
        self.state: tuple[Any, ...] = arguments  # numpy.core.numeric._frombuffer: buffer, dtype, shape, order

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, buffer = state
        self.state = buffer, dtype, shape, "F" if is_fortran else "C"

    def to_numpy(self, *, whole_numbers: bool = False) -> np.ndarray:
        """The array as uint8, of any shape, or as any whole numbers; raises whatever a wrong state calls for."""
        buffer, dtype, shape, order = self.state
        name = dtype.name.decode("ascii") if isinstance(dtype.name, bytes) else dtype.name
        if name not in (_WHOLE_NUMBERS if whole_numbers else ("u1", "uint8")):
            raise ValueError("another dtype than uint8")
        return np.frombuffer(buffer, np.dtype(name)).reshape(shape, order=order)


for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    GLOBALS[f"{_core}.multiarray", "_reconstruct"] = PickledArray
    GLOBALS[f"{_core}.numeric", "_frombuffer"] = PickledArray


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module[:60]}.{name[:60]}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it asks for a persistent object")


def restricted_load(file: Path, data: bytes) -> Any:
    """Unpickle plain containers, numbers, strings and arrays (as _PickledArray); refuse all else."""
    try:
        counts = {"tuples": 0, "references": 0}
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if name not in _OPCODES:
                raise pickle.UnpicklingError(f"it uses {name}")
            if number > _MAX_STEPS:
                raise pickle.UnpicklingError(f"it takes over {_MAX_STEPS:,} steps")
            if "PUT" in name and (argument or 0) > number:  # or a far index makes a huge memo
                raise pickle.UnpicklingError(f"it stores at {argument}")
            counts["tuples"] += "TUPLE" in name
            counts["references"] += "GET" in name
        if counts["tuples"] > _MAX_TUPLES or counts["references"] > _MAX_REFERENCES:
            raise pickle.UnpicklingError("it is nested too deeply")
        return _RestrictedUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a broken pickle raises whatever its bytes happen to call for
        reason = str(error).strip().rstrip(".")[:200] or type(error).__name__
        expected = "a CIFAR-10 batch: arrays, lists, numbers and strings, nothing else"
        fail(file, f"a pickle that can't be admitted ({reason})", expected)
