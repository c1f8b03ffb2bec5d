"""Python objects become canonical records."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from crosstune.data import from_arrays
from crosstune.errors import DataError, UsageError

from .samples import ragged, series


def test_ragged_list_is_padded_with_zeros():
    samples = ragged()
    found = from_arrays(samples, ["a", "b"] * 15)
    assert_array_equal(found.lengths, [s.shape[1] for s in samples])
    for row, sample in enumerate(samples):
        assert_array_equal(found.X[row, :, : sample.shape[1]], sample)
        assert not found.X[row, :, sample.shape[1] :].any()


def test_univariate_and_equal_lists():
    found = from_arrays([np.ones(3), np.ones(5)])
    assert found.X.shape == (2, 1, 5)
    assert_array_equal(found.lengths, [3, 5])
    assert from_arrays([np.ones(3), np.zeros(3)]).is_table
    assert from_arrays([np.ones((2, 3)), np.zeros((2, 3))]).lengths is None
    assert from_arrays([[1, 2], [3, 4]]).X.shape == (2, 2)


def test_transposed_samples_are_recognised():
    with pytest.raises(DataError, match=r"different channel counts[\s\S]*\(L_i, C\)[\s\S]*x\.T for x in X"):
        from_arrays([s.T for s in ragged()])
    with pytest.raises(DataError, match="sample 0 of X has shape"):
        from_arrays([np.zeros((1, 2, 3)), np.zeros((1, 2, 4))])


def test_nan_tails_become_lengths_but_gaps_do_not():
    X = series(4, 2, 10)
    X[1, :, 6:] = np.nan
    X[2, 0, 8:] = np.nan  # one channel only: missing, not the end
    X[3] = np.nan
    found = from_arrays(X)
    assert_array_equal(found.lengths, [10, 6, 10, 10])
    assert not found.X[1, :, 6:].any()
    assert np.isnan(found.X[2, 0, 8:]).all()
    assert np.isnan(found.X[3]).all()
    assert any("read as padding, lengths 6 to 10" in n for n in found.source["notes"])
    X = series(4, 2, 10)
    X[0, :, 4] = np.nan
    assert from_arrays(X).lengths is None


def test_full_lengths_are_not_ragged():
    assert from_arrays(series(), lengths=np.full(40, 16)).lengths is None


def test_dense_targets_gain_their_channel():
    assert from_arrays(series(40, 1), series(40, 1)[:, 0]).y.shape == (40, 1, 16)
    found = from_arrays(np.random.default_rng(0).normal(size=(9, 32)), np.random.default_rng(1).normal(size=(9, 32)))
    assert (found.kind, found.X.shape, found.y.shape) == ("dense", (9, 1, 32), (9, 1, 32))


def test_dense_ragged_target():
    X = ragged(channels=1)
    found = from_arrays(X, [2 * x for x in X])
    assert found.kind == "dense"
    assert_array_equal(found.y, 2 * found.X)
    padded = from_arrays(X)
    y = np.where(np.arange(padded.X.shape[2]) < padded.lengths[:, None], 1.0, np.nan)[:, None]
    y[:, :, 0] = np.arange(len(y))[:, None]
    assert not np.isnan(from_arrays(padded.X, y, lengths=padded.lengths).y).any()


def test_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "n": [1.5, np.nan, 3.0, 4.0],
            "i": pd.array([1, None, 3, 4], dtype="Int64"),
            "c": pd.Categorical(["x", None, "y", "x"]),
            "t": ["p", "q", None, "p"],
            "b": [True, False, True, True],
            "d": pd.to_datetime(["2024-01-01", "2024-01-02", None, "2024-01-04"]),
            7: pd.Categorical([3, 5, 3, None]),
        }
    )
    found = from_arrays(frame, pd.Series(["u", "v", "u", "v"], dtype="category"), groups=pd.Series([1, 1, 2, 2]))
    nan = np.nan
    expected = [
        [1.5, 1, 0, 0, 1, 19723, 3],
        [nan, nan, nan, 1, 0, 19724, 5],
        [3, 3, 1, nan, 1, nan, 3],
        [4, 4, 0, 0, 1, 19726, nan],
    ]
    assert_array_equal(found.X, np.float32(expected))
    assert found.categories == {2: ("x", "y"), 3: ("p", "q")}
    assert found.columns == ("n", "i", "c", "t", "b", "d", "7")
    assert found.classes == ("u", "v")
    multi = from_arrays(frame[["n"]], frame[["n", "i"]].fillna(0))
    assert multi.target_names == ("n", "i")


def test_arrow_structured_sparse_and_mixed():
    table = pa.table({"a": [1, None, 3], "b": ["u", "v", None], "c": pa.array([True, None, False])})
    found = from_arrays(table)
    assert_array_equal(found.X, np.float32([[1, 0, 1], [np.nan, 1, np.nan], [3, np.nan, 0]]))
    records = np.array([(1, "u"), (2, "v")], dtype=[("a", "f4"), ("b", "U1")])
    assert from_arrays(records).categories == {1: ("u", "v")}
    assert_array_equal(from_arrays(sparse.eye(3)).X, np.eye(3, dtype=np.float32))
    mixed = from_arrays(np.array([[1, "u"], [2.5, None]], dtype=object), columns=["a", "b"])
    assert_array_equal(mixed.X, np.float32([[1, 0], [2.5, np.nan]]))
    assert mixed.categories == {1: ("u",)}


def test_wrong_requests():
    with pytest.raises(DataError, match="3 column names were given for 2 columns"):
        from_arrays(np.zeros((4, 2)), columns=["a", "b", "c"])
    with pytest.raises(UsageError, match="unknown task 'regresion'"):
        from_arrays(np.zeros((4, 2)), np.arange(4), task="regresion")
    with pytest.raises(DataError, match="X is empty: a list of no samples"):
        from_arrays([])
    with pytest.raises(DataError, match="columns have different lengths"):
        from_arrays({"a": np.zeros(3), "b": np.zeros(4)})


def test_inputs_are_left_alone():
    X = series()
    X[0, :, 12:] = np.nan
    before = X.copy()
    from_arrays(X, lengths=np.full(40, 12))
    from_arrays(X)
    assert_array_equal(X, before)
