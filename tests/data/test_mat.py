"""MATLAB files slab by slab, against SciPy and h5py."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.io import loadmat, savemat

from crosstune.data.mat import mat_arrays
from crosstune.errors import DataError

HELD = {
    "coeff": np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32),
    "sol": np.random.default_rng(1).normal(size=(5, 7, 6)),
    "whole": np.arange(24.0).reshape(2, 3, 4),  # doubles that are stored as small integers where MATLAB can
    "bytes": np.arange(40, dtype=np.uint8).reshape(4, 10),
    "long_name_of_a_variable": np.arange(9, dtype=np.int16).reshape(3, 3),
    "text": "hello",
    "cell": np.array([1, "a"], dtype=object),
    "complex": np.array([[1j, 2.0, 3.0]]),
    "struct": {"a": 1},
}
NUMERIC = ("coeff", "sol", "whole", "bytes", "long_name_of_a_variable")


def whole(array) -> np.ndarray:
    return np.stack(list(array.slabs()), axis=-1)


@pytest.mark.parametrize("compressed", [False, True])
def test_as_scipy_reads_it(tmp_path: Path, compressed: bool):
    savemat(tmp_path / "x.mat", HELD, do_compression=compressed)
    found, wanted = mat_arrays(tmp_path / "x.mat"), loadmat(tmp_path / "x.mat")
    assert set(found) == set(NUMERIC)
    for name in NUMERIC:
        assert found[name].shape == wanted[name].shape
        assert found[name].dtype == wanted[name].dtype
        assert_array_equal(whole(found[name]), wanted[name])


def test_doubles_that_matlab_stored_as_bytes(tmp_path: Path):
    savemat(tmp_path / "x.mat", {"v": np.arange(12.0).reshape(3, 4)})
    content = bytearray((tmp_path / "x.mat").read_bytes())
    at = content.index(b"v\0\0\0") + 4
    assert content[at : at + 8] == b"\x09\0\0\0\x60\0\0\0"  # 96 bytes of doubles
    small = content[:at] + b"\x02\0\0\0\x0c\0\0\0" + bytes(np.arange(12).reshape(3, 4).T.ravel().tolist()) + b"\0" * 4
    small[132:136] = (len(small) - 136).to_bytes(4, "little")
    (tmp_path / "x.mat").write_bytes(small)
    assert_array_equal(loadmat(tmp_path / "x.mat")["v"], np.arange(12.0).reshape(3, 4))
    found = mat_arrays(tmp_path / "x.mat")["v"]
    assert found.dtype == np.float64
    assert_array_equal(whole(found), np.arange(12.0).reshape(3, 4))


def test_version_7_3_with_its_axes_reversed(tmp_path: Path):
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["coeff"] = HELD["coeff"].T
    with open(tmp_path / "x.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    found = mat_arrays(tmp_path / "x.mat")["coeff"]
    assert found.shape == (5, 7, 6)
    assert_array_equal(whole(found), HELD["coeff"])


@pytest.mark.parametrize("compressed", [False, True])
def test_cut_and_damaged_files(tmp_path: Path, compressed: bool):
    savemat(tmp_path / "x.mat", {"v": np.random.default_rng(0).normal(size=(30, 40))}, do_compression=compressed)
    content = (tmp_path / "x.mat").read_bytes()
    (tmp_path / "cut.mat").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.mat has .* but its contents reach to"):
        mat_arrays(tmp_path / "cut.mat")
    (tmp_path / "head.mat").write_bytes(content[:90])
    with pytest.raises(DataError, match="is not a MATLAB file"):
        mat_arrays(tmp_path / "head.mat")
    (tmp_path / "page.mat").write_text("<html>" * 50)
    with pytest.raises(DataError, match="a page saved in place"):
        mat_arrays(tmp_path / "page.mat")
    with pytest.raises(DataError, match="no file at"):
        mat_arrays(tmp_path / "absent.mat")
    if compressed:
        bad = bytearray(content)
        bad[len(bad) // 2 : len(bad) // 2 + 50] = bytes(50)
        (tmp_path / "bad.mat").write_bytes(bad)
        with pytest.raises(DataError, match=r"bad\.mat"):
            whole(mat_arrays(tmp_path / "bad.mat")["v"])
