"""The flattener against scikit-learn's own pipeline and against interpolation by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from crosstune import data
from crosstune.errors import DataError, UsageError

from .samples import ragged, series


def mixed_table(n=80, seed=0):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 4)) * [1, 100, 0.01, 0] + [0, 5, 0, 3]
    numbers[rng.random((n, 4)) < [0, 0.2, 0.1, 0]] = np.nan
    text = rng.choice(np.array(["u", "v", "w", None], object), n)
    columns = {f"n{i}": numbers[:, i] for i in range(4)}
    return data.from_arrays({**columns, "site": text}), numbers.astype(np.float32).astype(np.float64), text


def test_against_a_pipeline_of_scikit_learn():
    dataset, numbers, text = mixed_table()
    train, rest = np.arange(50), np.arange(50, 80)
    found = data.Flattener().fit(dataset.take(train))
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", SimpleImputer(strategy="median", add_indicator=True), [0, 1, 2, 3]),
                ("levels", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [4]),
            ]
        ),
        VarianceThreshold(),
        StandardScaler(),
    )
    everything = np.column_stack([numbers, np.array([t or "~missing" for t in text], object)]).astype(object)
    expected = pipeline.fit_transform(everything[train])
    assert_allclose(found.transform(dataset.take(train)), expected, rtol=1e-10, atol=1e-10)
    assert_allclose(found.transform(dataset.take(rest)), pipeline.transform(everything[rest]), rtol=1e-10, atol=1e-10)
    assert found.names == ("n0", "n1", "n2", "n1 missing", "n2 missing", "site=u", "site=v", "site=w", "site=missing")
    assert found.notes == ("1 of 10 features are constant in train and left out",)


def test_categories_unseen_in_train_are_zeros():
    train = data.from_arrays({"a": ["u", "v", "u", "v"], "b": [1.0, 2, 3, 4]})
    new = data.from_arrays({"a": ["w", "u", "v", "u"], "b": [1.0, 2, 3, 4]})
    new = data.conform(new, train.columns, train.categories)
    out = data.Flattener().fit(train).transform(new)
    assert_allclose(out[0, 1:], [-1, -1])  # (0 - mean 1/2) / deviation 1/2
    assert_allclose(out[1, 1:], [1, -1])


def test_ragged_series_are_resampled_to_the_median():
    samples = ragged(31)
    dataset = data.from_arrays(samples)
    found = data.Flattener().fit(dataset)
    lengths = np.array([s.shape[1] for s in samples])
    length = int(np.median(lengths))
    raw = [
        np.concatenate([np.interp(np.linspace(0, s.shape[1] - 1, length), np.arange(s.shape[1]), c) for c in s])
        for s in samples
    ]
    expected = StandardScaler().fit_transform(np.column_stack([np.array(raw), lengths]))
    assert_allclose(found.transform(dataset), expected, atol=1e-6)
    assert found.names[-1] == "length"
    assert found.width == 2 * length + 1


def test_part_without_short_series_and_other_lengths():
    dataset = data.from_arrays(ragged(31))
    found = data.Flattener().fit(dataset)
    longest = dataset.take(np.flatnonzero(dataset.lengths == dataset.lengths.max()))
    from dataclasses import replace

    assert_allclose(found.transform(replace(longest, lengths=None)), found.transform(longest))
    plain = data.Flattener().fit(data.from_arrays(series()))
    assert plain.transform(data.from_arrays(series(length=33))).shape == (40, 32)


def test_images_keep_their_order_and_scale():
    X = np.random.default_rng(0).normal(3, 2, size=(20, 2, 3, 4)).astype(np.float32)
    found = data.Flattener().fit_transform(data.from_arrays(X))
    assert_allclose(found, StandardScaler().fit_transform(X.reshape(20, -1).astype(float)), atol=1e-12)
    assert found.dtype == np.float64


def test_only_train_decides():
    dataset = data.from_arrays(series())
    found = data.Flattener().fit(dataset.take(np.arange(20)))
    before = found.transform(dataset.take(np.arange(30)))
    assert_array_equal(found.transform(dataset)[:30], before)
    X = series()
    X[35] = np.nan
    assert np.isfinite(found.transform(data.from_arrays(X))).all()


def test_projection_is_seeded_and_keeps_distances():
    dataset = data.from_arrays(series(30, 3, 400))
    full = data.Flattener().fit_transform(dataset)
    small = data.Flattener(max_features=300, seed=5).fit(dataset)
    out = small.transform(dataset)
    assert out.shape == (30, 300)
    assert small.notes == ("1200 features were projected to 300 at random (seed 5)",)
    assert_array_equal(out, data.Flattener(max_features=300, seed=5).fit_transform(dataset))
    assert not np.array_equal(out, data.Flattener(max_features=300, seed=6).fit_transform(dataset))
    ratio = np.linalg.norm(out[1:] - out[0], axis=1) / np.linalg.norm(full[1:] - full[0], axis=1)
    assert np.abs(ratio - 1).max() < 0.25
    assert data.Flattener(max_features=1200).fit(dataset).notes == ()


def test_constant_data_become_one_column_of_zeros():
    found = data.Flattener().fit(data.from_arrays(np.ones((5, 3))))
    assert_array_equal(found.transform(data.from_arrays(np.ones((2, 3)))), np.zeros((2, 1)))
    assert found.notes == ("2 of 3 features are constant in train and left out",)


def test_errors():
    with pytest.raises(UsageError, match="has not been fitted"):
        data.Flattener().transform(data.from_arrays(series()))
    with pytest.raises(UsageError, match="max_features is 0"):
        data.Flattener(max_features=0)
    fitted = data.Flattener().fit(data.from_arrays(np.random.default_rng(0).normal(size=(5, 1, 4, 4))))
    with pytest.raises(DataError, match=r"rows have shape \(1, 4, 5\), but features were fitted on \(1, 4, 4\)"):
        fitted.transform(data.from_arrays(np.zeros((5, 1, 4, 5))))
