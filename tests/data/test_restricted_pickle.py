"""Pickles of arrays are read as ``pickle`` would read them; anything else is refused by name, and nothing is run."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import pickletools
import random
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crosstune.data.filearray import FileArray
from crosstune.data.numpy_files import load_npy, npz_array
from crosstune.data.restricted_pickle import load_pickle
from crosstune.errors import DataError


def same(a: object, b: object) -> bool:
    if isinstance(a, FileArray):
        a = a[:]
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
        assert a.shape == b.shape
        if a.dtype == object:
            return all(same(x, y) for x, y in zip(a.reshape(-1), b.reshape(-1)))
        return bool((a == b).all())
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)  # type: ignore[arg-type]
        return all(same(x, y) for x, y in zip(a, b))  # type: ignore[call-overload]
    return type(a) is type(b) and a == b


def ragged() -> np.ndarray:
    out = np.empty(3, object)
    for place, length in enumerate((0, 4, 9)):
        out[place] = np.arange(length, dtype=np.int16)
    return out


VALUES = {
    "numbers": {"a": [1, -2, 300, 70_000, 2**40, -(2**70), 1.5, float("inf"), True, None]},
    "plain": ["ü", b"\0\xff", b"", (1,), (), (1, 2, 3, 4), "a\nb"],
    "sets": {"s": {1, 2}, "f": frozenset({3})},
    "long list": list(range(3000)),
    "nested": {"train": {"images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "labels": [1, 2]}},
    "floats": np.linspace(0, 1, 7),
    "big endian": np.arange(5, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "bool and text": [np.array([True, False]), np.array(["ab", "c"]), np.array([b"xy"])],
    "objects": ragged(),
    "mixed objects": np.array([3, "ACD", np.eye(2)], dtype=object),
    "scalars": [np.float32(1.5), np.int64(-3), np.str_("q"), np.complex64(1j)],
    "complex": 2 + 3j,
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    "twice": (lambda x: [x, x])(np.arange(3)),
    "large": {"data": np.arange(400_000, dtype=np.int64), "more": np.zeros((3, 200_000), np.float32)},
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", list(VALUES))
def test_read_as_pickle_reads(tmp_path: Path, name: str, protocol: int):
    value = VALUES[name]
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(value, protocol))
    wanted = dict(value) if isinstance(value, collections.OrderedDict) else value
    assert same(load_pickle(tmp_path / "v.pkl"), wanted)


def test_large_arrays_stay_in_the_file(tmp_path: Path):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(VALUES["large"], 4))
    found = load_pickle(tmp_path / "v.pkl")
    assert isinstance(found["data"], FileArray)
    assert_array_equal(found["data"][np.array([399_999, 7, 8])], [399_999, 7, 8])
    assert_array_equal(found["data"][10:14], np.arange(10, 14))
    assert found["data"][-1] == 399_999
    assert_array_equal(pickle.loads(pickle.dumps(found["more"]))[1], np.zeros(200_000))


# what Python 2 wrote for {"data": array([[1, 2]], dtype=uint8), "fine_labels": [7], "filenames": ["a.png"]}, protocol 2
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
    b"q\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff"
    b"\xff\xffK\x00tb\x89U\x02\x01\x02tbU\x0bfine_labelsq\x08]q\tK\x07aU\tfilenames]q\nU\x05a.pngau."
)


def test_text_of_python_2_stays_bytes(tmp_path: Path):
    (tmp_path / "train").write_bytes(PYTHON_2)
    wanted = pickle.loads(PYTHON_2, encoding="bytes")
    assert wanted[b"filenames"] == [b"a.png"]
    assert same(load_pickle(tmp_path / "train"), wanted)


class Calls:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Plain:
    pass


MARKER = "crosstune_hostile_marker"


def hostile(tmp_path: Path) -> dict[str, tuple[object, str]]:
    touch = f"touch {tmp_path / MARKER}"
    return {
        "os.system": (Calls(os.system, touch), r"(posix|nt)\.system"),
        "eval": (Calls(eval, f"open({str(tmp_path / MARKER)!r}, 'w')"), r"(__builtin__|builtins)\.eval"),
        "exec": (Calls(exec, "pass"), r"(__builtin__|builtins)\.exec"),
        "getattr": (Calls(getattr, "a", "upper"), r"(__builtin__|builtins)\.getattr"),
        "nested": ({"data": [1, {"deep": (Calls(os.system, touch),)}]}, r"(posix|nt)\.system"),
        "in an object array": (np.array([1, Calls(os.system, touch)], dtype=object), r"(posix|nt)\.system"),
        "argument of an allowed call": (Calls(complex, Calls(eval, "1"), 1), r"(__builtin__|builtins)\.eval"),
        "an object": (Plain(), r"instruction NEWOBJ|Plain"),
        "a class": (Plain, r"Plain"),
        "open": (Calls(open, str(tmp_path / MARKER), "w"), r"_?io\.open"),
        "bytearray of gigabytes": (Calls(bytearray, 1 << 40), r"(__builtin__|builtins)\.bytearray"),
        "structured": (np.zeros(2, [("a", "i4")]), r"dtype"),
        "memory map": (Calls(np.fromfile, "x"), r"fromfile"),
    }  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", list(hostile(Path())))
def test_programs_are_refused_by_name(tmp_path: Path, name: str, protocol: int):
    value, said = hostile(tmp_path)[name]
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(DataError, match=f"v.pkl holds .*{said}.*not opened"):
        load_pickle(tmp_path / "v.pkl")
    assert not (tmp_path / MARKER).exists()


def test_the_same_gate_for_npy_and_npz(tmp_path: Path):
    value = np.array([1, Calls(os.system, f"touch {tmp_path / MARKER}")], dtype=object)
    np.save(tmp_path / "v.npy", value, allow_pickle=True)
    np.savez(tmp_path / "v.npz", a=value)
    np.savez_compressed(tmp_path / "c.npz", a=value)
    for read in (
        lambda: load_npy(tmp_path / "v.npy"),
        lambda: npz_array(tmp_path / "v.npz", "a"),
        lambda: npz_array(tmp_path / "c.npz", "a"),
    ):
        with pytest.raises(DataError, match=r"(posix|nt)\.system, which is not opened"):
            read()
    assert not (tmp_path / MARKER).exists()


def raw(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "raw.pkl").write_bytes(content)
    return tmp_path / "raw.pkl"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"os\.system"),
        (b"(S'true'\nios\nsystem\n.", "INST"),
        (b"\x80\x02c__builtin__\neval\nU\x011\x85R.", r"__builtin__\.eval"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.tag\x93.", r"numpy\.ndarray\.tag"),
        (b"cnumpy\nndarray\n}(U\x01aK\x01ub.", "a state for numpy.ndarray"),
        (b"cbuiltins\nlist\n}U\x08__code__K\x01sb.", "a state for list"),
        (b"K\x01K\x01\x85R.", "a call of"),
        (b"cnumpy\nndarray\n)R.", "a call of numpy.ndarray"),
        (b"Pid\n.", "PERSID"),
        (b"\x82\x01.", "EXT1"),
    ],
)
def test_hand_made_programs_are_refused(tmp_path: Path, content: bytes, said: str):
    with pytest.raises(DataError, match=said):
        load_pickle(raw(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [b"", b"N", b"hello", b"\x80\x09N.", b"R.", b"(", b"q\x00.", b"\x8e" + b"\xff" * 8 + b".", b"h\x05.", b"ccc",
     b"cnumpy\nndarray\n.", b"}]K\x01s.", b"<!DOCTYPE html>", b"(((.", b"]}a"],
)  # fmt: skip
def test_damage_is_a_message(tmp_path: Path, content: bytes):
    with pytest.raises(DataError, match=r"raw\.pkl"):
        load_pickle(raw(tmp_path, content))


def test_nesting_that_would_exhaust_the_stack_is_a_message(tmp_path: Path):
    with pytest.raises(DataError, match="nested deeper"):
        load_pickle(raw(tmp_path, b"]" * 5000 + b"a" * 4999 + b"."))


def test_sizes_that_do_not_fit_are_a_message(tmp_path: Path):
    good = pickle.dumps(np.arange(3, dtype=np.uint8), 2)
    assert b"K\x03\x85" in good
    with pytest.raises(DataError, match="does not have"):
        load_pickle(raw(tmp_path, good.replace(b"K\x03\x85", b"K\x04\x85", 1)))


def test_every_truncation_and_random_damage_is_a_message_or_data(tmp_path: Path):
    good = pickle.dumps({"x": np.arange(6), "names": ["a", b"b"], "o": ragged()}, 4)
    for length in range(len(good)):
        with pytest.raises(DataError, match=r"raw\.pkl"):
            load_pickle(raw(tmp_path, good[:length]))
    rng = random.Random(0)
    for _ in range(1500):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        with contextlib.suppress(DataError):  # anything else fails the test
            load_pickle(raw(tmp_path, bytes(bad)))


def test_no_instruction_that_makes_objects_is_known():
    from crosstune.data.restricted_pickle import _STEPS

    dangerous = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"}
    names = {op.code.encode("latin1"): op.name for op in pickletools.opcodes}
    assert not dangerous & {names[code] for code in _STEPS}


# -- .npy and .npz ----------------------------------------------------------------------------------------------------


def test_npy_files(tmp_path: Path):
    big = np.arange(300_000, dtype=np.float64).reshape(3000, 100)
    for name, value in {"big": big, "small": big[:3], "fortran": np.asfortranarray(big), "none": np.array(4)}.items():
        np.save(tmp_path / f"{name}.npy", value)
        found = load_npy(tmp_path / f"{name}.npy")
        assert isinstance(found, FileArray) == (name == "big")
        assert_array_equal(np.asarray(found), value)
    np.save(tmp_path / "o.npy", {"data": big, "label": np.arange(5)}, allow_pickle=True)
    found = load_npy(tmp_path / "o.npy")
    assert isinstance(found["data"], FileArray)
    assert_array_equal(found["data"][7], big[7])
    np.save(tmp_path / "r.npy", ragged(), allow_pickle=True)
    assert same(load_npy(tmp_path / "r.npy"), ragged())


def test_npz_files_stored_and_compressed(tmp_path: Path):
    big = (np.arange(2_400_000) % 251).astype(np.uint8).reshape(3000, 200, 4)
    np.savez(tmp_path / "s.npz", x=big, y=np.arange(3))
    np.savez_compressed(tmp_path / "c.npz", x=big, y=np.arange(3))
    for name in ("s", "c"):
        found = npz_array(tmp_path / f"{name}.npz", "x")
        assert isinstance(found, FileArray)
        assert_array_equal(found[np.array([0, 2999, 5])], big[[0, 2999, 5]])
        assert_array_equal(npz_array(tmp_path / f"{name}.npz", "y"), [0, 1, 2])
    assert len(list((tmp_path / ".unpacked").iterdir())) == 2
    with pytest.raises(DataError, match=r"no array 'z'.*\n.*it has: x, y"):
        npz_array(tmp_path / "s.npz", "z")


def test_damaged_numpy_files_are_messages(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.arange(1000.0))
    np.savez(tmp_path / "x.npz", x=np.arange(1000.0))
    np.savez_compressed(tmp_path / "y.npz", x=np.random.default_rng(0).normal(size=1000))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:5000])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:5000])
    (tmp_path / "page.npy").write_text("<!DOCTYPE html><title>Google Drive - Virus scan warning</title>")
    with pytest.raises(DataError, match="5,000 bytes, but its header speaks of 8,128"):
        load_npy(tmp_path / "cut.npy")
    with pytest.raises(DataError, match=r"not a \.npz file"):
        npz_array(tmp_path / "cut.npz", "x")
    with pytest.raises(DataError, match="a page saved in place of the data"):
        load_npy(tmp_path / "page.npy")
    damaged = bytearray((tmp_path / "y.npz").read_bytes())
    damaged[2000:2100] = bytes(100)
    (tmp_path / "y.npz").write_bytes(damaged)
    with pytest.raises(DataError, match="cannot be unpacked"):
        npz_array(tmp_path / "y.npz", "x")
    assert not list((tmp_path / ".unpacked").glob("*"))
