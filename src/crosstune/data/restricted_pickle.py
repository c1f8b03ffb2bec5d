"""Pickle files of arrays, read without running them.

A pickle is a program, and ``pickle.load`` runs whatever it calls. What is here knows the instructions that build
numbers, text, bytes, lists, tuples, dictionaries and sets, and the few names under which NumPy stores arrays, dtypes
and scalars; it imports nothing, calls nothing that the file names, and refuses everything else by name. Long byte
strings are not read at all: an array over ``large`` bytes becomes a ``FileArray`` that points into the file.

The instructions are those of the pickle protocols 0 to 5 (documented in Python's ``pickletools``). Text that Python 2
wrote stays bytes.
"""

from __future__ import annotations

import codecs
import os
import pickletools
import struct
from collections.abc import Callable, Hashable
from typing import Any, BinaryIO, NoReturn

from crosstune.data.pickle_parts import Array, DType, Machine, Name, Span, dtype_of, name_of, placed, resolved
from crosstune.errors import DataError

LARGE = 1 << 20


def load_pickle(path: str | os.PathLike[str], *, offset: int = 0, large: int = LARGE) -> Any:
    """The value in a pickle file. Arrays of more than ``large`` bytes stay in the file, as ``FileArray``.

    DataError names what is not allowed (see the module), or says where a damaged file ends.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return read_pickle(file, path, offset=offset, large=large)
    except FileNotFoundError:
        raise DataError(f"no file at {path}", fix="check the path") from None


def read_pickle(file: BinaryIO, path: str, *, offset: int = 0, large: int = LARGE) -> Any:
    """The same from an open file; ``path`` is where it can be opened again, and what messages call it."""
    machine = Machine(file, path, large, file.seek(0, os.SEEK_END))
    file.seek(offset)
    try:
        while True:
            code = file.read(1)
            if code == b".":
                return resolved(machine.stack.pop(), {}, 0)
            if code not in _STEPS:
                _refuse_step(machine, code)
            _STEPS[code](machine)
    except DataError:
        raise
    except EOFError:
        raise DataError(
            f"{path} ends in the middle of its data ({machine.size:,} bytes)",
            cause="a download or copy that was cut off",
            fix="fetch the file again",
        ) from None
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
        struct.error,
        SyntaxError,
    ) as error:
        raise DataError(
            f"{path} is not a readable pickle ({type(error).__name__} at byte {file.tell():,}: {error})",
            cause="a damaged file, or not a pickle at all",
            fix="fetch the file again",
        ) from error


def _refuse_step(machine: Machine, code: bytes) -> NoReturn:
    if not code:
        raise EOFError
    known = {instruction.code: instruction.name for instruction in pickletools.opcodes}.get(code.decode("latin1"))
    if known is None:
        raise ValueError(f"no pickle instruction {code!r}")
    machine.refuse(f"the pickle instruction {known} (an object of a class)")


# -- the instructions -------------------------------------------------------------------------------------------------

_STEPS: dict[bytes, Callable[[Machine], None]] = {}


def _step(*codes: bytes) -> Callable[[Callable[[Machine], Any]], Callable[[Machine], Any]]:
    def keep(function: Callable[[Machine], Any]) -> Callable[[Machine], Any]:
        for code in codes:
            _STEPS[code] = function
        return function

    return keep


def _push(code: bytes, value: Callable[[Machine], Any]) -> None:
    _STEPS[code] = lambda machine: machine.stack.append(value(machine))


def _text_int(machine: Machine) -> int | bool:
    text = machine.line()
    return {b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text)


def _quoted(machine: Machine) -> bytes:
    text = machine.line()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in b"\"'":
        raise ValueError("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0]  # type: ignore[attr-defined,no-any-return]


def _text(machine: Machine, length: int) -> str:
    return machine.content(machine.long_bytes(length)).decode("utf-8", "surrogatepass")


_push(b"N", lambda m: None)
_push(b"\x88", lambda m: True)
_push(b"\x89", lambda m: False)
_push(b"I", _text_int)
_push(b"J", lambda m: m.number("<i"))
_push(b"K", lambda m: m.number("<B"))
_push(b"M", lambda m: m.number("<H"))
_push(b"L", lambda m: int(m.line().rstrip(b"L")))
_push(b"\x8a", lambda m: int.from_bytes(m.take(m.number("<B")), "little", signed=True))
_push(b"\x8b", lambda m: int.from_bytes(m.take(m.number("<I")), "little", signed=True))
_push(b"F", lambda m: float(m.line()))
_push(b"G", lambda m: struct.unpack(">d", m.take(8))[0])
_push(b"S", _quoted)
_push(b"T", lambda m: m.long_bytes(m.number("<I")))
_push(b"U", lambda m: m.take(m.number("<B")))
_push(b"B", lambda m: m.long_bytes(m.number("<I")))
_push(b"C", lambda m: m.take(m.number("<B")))
_push(b"\x8e", lambda m: m.long_bytes(m.number("<Q")))
_push(b"\x96", lambda m: m.long_bytes(m.number("<Q")))
_push(b"V", lambda m: m.line().decode("raw-unicode-escape"))
_push(b"X", lambda m: _text(m, m.number("<I")))
_push(b"\x8c", lambda m: _text(m, m.number("<B")))
_push(b"\x8d", lambda m: _text(m, m.number("<Q")))
_push(b"]", lambda m: [])
_push(b"}", lambda m: {})
_push(b")", lambda m: ())
_push(b"\x8f", lambda m: set())
_push(b"l", lambda m: m.since_mark())
_push(b"t", lambda m: tuple(m.since_mark()))
_push(b"\x91", lambda m: frozenset(m.since_mark()))
_push(b"d", lambda m: _pairs({}, m.since_mark()))
_push(b"h", lambda m: m.memo[m.number("<B")])
_push(b"j", lambda m: m.memo[m.number("<I")])
_push(b"g", lambda m: m.memo[int(m.line())])
_push(b"2", lambda m: m.stack[-1])
_push(b"c", lambda m: name_of(m, m.line(), m.line()))


def _pairs(into: Any, items: list[Any]) -> dict[Any, Any]:
    if not isinstance(into, dict) or len(items) % 2:
        raise TypeError("items for something that is not a dictionary")
    for key, value in zip(items[::2], items[1::2]):
        if not isinstance(key, Hashable) or isinstance(key, (Name, Array, Span)):
            raise TypeError(f"a key of type {type(key).__name__}")
        into[key] = value
    return into


@_step(b"\x80")
def _protocol(machine: Machine) -> None:
    version = machine.number("<B")
    if version > 5:
        raise ValueError(f"pickle protocol {version}")


@_step(b"\x95")
def _frame(machine: Machine) -> None:
    machine.number("<Q")  # only a hint for readers that buffer


@_step(b"(")
def _mark(machine: Machine) -> None:
    machine.marks.append(len(machine.stack))


@_step(b"0")
def _pop(machine: Machine) -> None:
    machine.stack.pop()


@_step(b"1")
def _pop_mark(machine: Machine) -> None:
    machine.since_mark()


@_step(b"\x85", b"\x86", b"\x87")
def _short_tuple(machine: Machine) -> None:
    machine.file.seek(-1, os.SEEK_CUR)
    count = machine.take(1)[0] - 0x84
    items = tuple(machine.stack[-count:])
    if len(items) != count:
        raise IndexError("too few values on the stack")
    machine.stack[-count:] = [items]


@_step(b"a")
def _append(machine: Machine) -> None:
    _extend(machine, [machine.stack.pop()])


@_step(b"e")
def _appends(machine: Machine) -> None:
    _extend(machine, machine.since_mark())


def _extend(machine: Machine, items: list[Any]) -> None:
    if not isinstance(machine.stack[-1], list):
        raise TypeError("items for something that is not a list")
    machine.stack[-1].extend(items)


@_step(b"\x90")
def _add_items(machine: Machine) -> None:
    items = machine.since_mark()
    if not isinstance(machine.stack[-1], set):
        raise TypeError("items for something that is not a set")
    machine.stack[-1].update(items)


@_step(b"s")
def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _pairs(machine.stack[-1], [key, value])


@_step(b"u")
def _set_items(machine: Machine) -> None:
    items = machine.since_mark()
    _pairs(machine.stack[-1], items)


@_step(b"p")
def _put(machine: Machine) -> None:
    machine.memo[int(machine.line())] = machine.stack[-1]


@_step(b"q")
def _put_short(machine: Machine) -> None:
    machine.memo[machine.number("<B")] = machine.stack[-1]


@_step(b"r")
def _put_long(machine: Machine) -> None:
    machine.memo[machine.number("<I")] = machine.stack[-1]


@_step(b"\x94")
def _memoise(machine: Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


@_step(b"\x93")
def _stack_name(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(name_of(machine, module, name))


@_step(b"R")
def _reduce(machine: Machine) -> None:
    arguments, what = machine.stack.pop(), machine.stack.pop()
    if not isinstance(what, Name) or what.made is None or not isinstance(arguments, tuple):
        machine.refuse(f"a call of {what.text if isinstance(what, Name) else type(what).__name__}")
    machine.stack.append(what.made(machine, arguments))


@_step(b"b")
def _build(machine: Machine) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if isinstance(target, DType):
        if not isinstance(state, tuple) or any(part is not None for part in state[2:5]):
            machine.refuse("a structured dtype")
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order in ("<", ">"):
            target.value = target.value.newbyteorder("<" if order == "<" else ">")
    elif isinstance(target, Array):
        if target.value is not None or not isinstance(state, tuple):
            raise TypeError("an array that is filled twice")
        shape, kind, fortran, raw = state[-4:]
        target.value = placed(machine, raw, dtype_of(machine, kind), shape, bool(fortran))
    else:
        machine.refuse(f"a state for {target.text if isinstance(target, Name) else type(target).__name__}")
