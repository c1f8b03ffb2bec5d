"""What ``restricted_pickle`` builds with: the stack of a file being read, and the few names it may use."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

import numpy as np

from crosstune.data.filearray import FileArray
from crosstune.errors import DataError

_DEEPEST = 200  # containers within containers
_LONGEST_LINE = 1 << 28


@dataclass(frozen=True, eq=False)
class Name:
    """A name that the file may use; ``made`` turns its arguments into a value."""

    text: str
    made: Callable[[Machine, tuple[Any, ...]], Any] | None = None


@dataclass(frozen=True)
class Span:
    """Bytes that stayed in the file."""

    offset: int
    length: int


@dataclass(eq=False)
class Array:
    """An array under construction; ``value`` comes with its state."""

    value: Any = None


@dataclass(eq=False)
class DType:
    value: np.dtype


@dataclass
class Machine:
    """The stack, the marks and the memo of one file."""

    file: BinaryIO
    path: str
    large: int
    size: int
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    # -- reading ----------------------------------------------------------------------------------------------------
    def take(self, count: int) -> bytes:
        got = self.file.read(count)
        if len(got) != count:
            raise EOFError
        return got

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def line(self) -> bytes:
        got = self.file.readline(_LONGEST_LINE)
        if not got.endswith(b"\n"):
            raise EOFError
        return got[:-1]

    def long_bytes(self, length: int) -> bytes | Span:
        at = self.file.tell()
        if at + length > self.size:
            raise EOFError
        if length <= self.large:
            return self.take(length)
        self.file.seek(length, os.SEEK_CUR)
        return Span(at, length)

    def content(self, span: bytes | Span) -> bytes:
        if isinstance(span, bytes):
            return span
        back = self.file.tell()
        self.file.seek(span.offset)
        got = self.take(span.length)
        self.file.seek(back)
        return got

    # -- the stack --------------------------------------------------------------------------------------------------
    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{self.path} holds {what}, which is not opened",
            cause="a pickle is a program; only arrays, numbers, text and containers of these are read from it",
            fix="get the file from where it is published; if it is yours, write the data as .npz without objects",
        )


# -- names that NumPy uses --------------------------------------------------------------------------------------------


def _reconstruct(machine: Machine, arguments: tuple[Any, ...]) -> Array:
    if not arguments or arguments[0] is not _NDARRAY:
        machine.refuse("an array of another class than numpy.ndarray")
    return Array()


def _scalar(machine: Machine, arguments: tuple[Any, ...]) -> Any:
    kind, raw = arguments
    dtype = dtype_of(machine, kind)
    if dtype.hasobject or not isinstance(raw, (bytes, Span)):
        machine.refuse("a scalar that is an object")
    return np.frombuffer(machine.content(raw), dtype, count=1)[0]


def _make_dtype(machine: Machine, arguments: tuple[Any, ...]) -> DType:
    text = arguments[0].decode("ascii") if isinstance(arguments[0], bytes) else arguments[0]
    plain = isinstance(text, str) and text[:1] in "biufcSUO?" and (text[1:].isdigit() or len(text) == 1)
    if not plain:
        machine.refuse(f"the dtype {text!r}")
    return DType(np.dtype("O" if text[0] == "O" else text))


def _encode(machine: Machine, arguments: tuple[Any, ...]) -> bytes:
    # how protocol 2 of Python 3 writes bytes
    text, how = arguments[0], arguments[1] if len(arguments) > 1 else "latin1"
    if not isinstance(text, str) or how not in ("latin1", "latin-1"):
        machine.refuse(f"_codecs.encode to {how!r}")
    return text.encode("latin1")


def _from_buffer(machine: Machine, arguments: tuple[Any, ...]) -> Any:
    raw, kind, shape, order = arguments
    return placed(machine, raw, dtype_of(machine, kind), shape, order == "F")


def _ordered(machine: Machine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    return dict(arguments[0]) if arguments else {}


def _container(kind: type) -> Callable[[Machine, tuple[Any, ...]], Any]:
    return lambda machine, arguments: kind(*arguments[:1])


def _no_bytes(machine: Machine, arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        machine.refuse("a call of bytes")
    return b""  # how old protocols write it


def _complex(machine: Machine, arguments: tuple[Any, ...]) -> complex:
    real, imaginary = arguments
    return complex(float(real), float(imaginary))


_NDARRAY = Name("numpy.ndarray")
_NAMES: dict[tuple[str, str], Name] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Name("numpy.dtype", _make_dtype),
    ("numpy._core.multiarray", "_reconstruct"): Name("_reconstruct", _reconstruct),
    ("numpy._core.multiarray", "scalar"): Name("scalar", _scalar),
    ("numpy._core.numeric", "_frombuffer"): Name("_frombuffer", _from_buffer),
    ("_codecs", "encode"): Name("_codecs.encode", _encode),
    ("collections", "OrderedDict"): Name("OrderedDict", _ordered),
    ("builtins", "list"): Name("list", _container(list)),
    ("builtins", "tuple"): Name("tuple", _container(tuple)),
    ("builtins", "dict"): Name("dict", _container(dict)),
    ("builtins", "set"): Name("set", _container(set)),
    ("builtins", "frozenset"): Name("frozenset", _container(frozenset)),
    ("builtins", "bytes"): Name("bytes", _no_bytes),
    ("builtins", "complex"): Name("complex", _complex),
}


def name_of(machine: Machine, module: Any, name: Any) -> Name:
    module, name = (
        part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in (module, name)
    )
    known = module.replace("numpy.core.", "numpy._core.").replace("__builtin__", "builtins")
    if (known, name) not in _NAMES:
        machine.refuse(f"{module}.{name}")
    return _NAMES[known, name]


def dtype_of(machine: Machine, value: Any) -> np.dtype:
    if not isinstance(value, DType):
        machine.refuse(f"a {type(value).__name__} in place of a dtype")
    return value.value


def placed(machine: Machine, raw: Any, dtype: np.dtype, shape: Any, fortran: bool) -> Any:
    """The array of these bytes: in memory, or where it is."""
    shape = tuple(int(n) for n in shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {shape}")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if dtype.hasobject:
        if not isinstance(raw, list) or len(raw) != count:
            raise ValueError(f"{count} objects expected")
        return Objects(raw, shape, fortran)
    length = raw.length if isinstance(raw, Span) else len(raw)
    if not isinstance(raw, (bytes, bytearray, Span)) or length != count * dtype.itemsize:
        raise ValueError(f"an array {shape} of {dtype} does not have {length} bytes")
    if isinstance(raw, Span) and not fortran and len(shape) > 0:
        return FileArray(machine.path, raw.offset, dtype, shape)
    content = machine.content(raw) if isinstance(raw, Span) else bytes(raw)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


@dataclass(eq=False)
class Objects:
    """An array of objects whose items are not resolved yet."""

    items: list[Any]
    shape: tuple[int, ...]
    fortran: bool


def resolved(value: Any, done: dict[int, Any], depth: int) -> Any:
    """The value with arrays and dtypes in place of their makings."""
    if depth > _DEEPEST:
        raise ValueError(f"containers nested deeper than {_DEEPEST}")
    if isinstance(value, (Name, Span)):
        raise ValueError("the file ends on a name or on bytes that were not read")
    if not isinstance(value, (list, tuple, dict, set, frozenset, Array, DType, Objects)):
        return value
    if id(value) in done:
        return done[id(value)]
    into: Any
    if isinstance(value, list):
        into = done[id(value)] = []
        into.extend(resolved(item, done, depth + 1) for item in value)
    elif isinstance(value, dict):
        into = done[id(value)] = {}
        into.update((resolved(k, done, depth + 1), resolved(v, done, depth + 1)) for k, v in value.items())
    elif isinstance(value, (tuple, set, frozenset)):
        into = type(value)(resolved(item, done, depth + 1) for item in value)
    elif isinstance(value, Objects):
        into = done[id(value)] = np.empty(len(value.items), object)
        for place, item in enumerate(value.items):
            into[place] = resolved(item, done, depth + 1)
        into = into.reshape(value.shape, order="F" if value.fortran else "C")
    else:
        into = resolved(value.value, done, depth + 1)
    done[id(value)] = into
    return into
