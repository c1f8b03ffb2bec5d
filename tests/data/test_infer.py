"""The table of rules in crosstune.data.infer, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_diabetes, load_digits, load_linnerud

from crosstune.data import infer_target
from crosstune.errors import TaskError

RNG = np.random.default_rng(0)
TABLE, SERIES, GRID = np.zeros((60, 4)), np.zeros((60, 2, 32)), np.zeros((60, 1, 8, 8))
ONE_HOT = np.eye(3)[np.arange(60) % 3]

CASES = [
    ("text", np.array(["a", "b"] * 30), TABLE, "classification", "text, 2 distinct values"),
    ("booleans", np.arange(60) % 2 == 0, TABLE, "classification", "booleans"),
    ("few integers", np.arange(60) % 5, TABLE, "classification", "at most 20, and half the rows"),
    ("integers as floats", (np.arange(60) % 5).astype(float), TABLE, "classification", "5 distinct"),
    ("column of integers", (np.arange(60) % 5)[:, None], TABLE, "classification", "5 distinct"),
    ("two values", np.where(np.arange(60) % 2, -7, 900), TABLE, "classification", "two values are classes"),
    ("many codes", np.arange(600) % 100, None, "classification", "codes 0 to 99 without gaps"),
    ("codes from one", np.arange(600) % 100 + 1, None, "classification", "codes 1 to 100"),
    ("ages", RNG.integers(18, 90, 600), None, "regression", "too many for classes"),
    ("every row its own", np.arange(10), None, "regression", "10 distinct values in 10 rows"),
    ("fractions", RNG.normal(size=60), TABLE, "regression", "fractional"),
    ("two fractions", np.arange(60) % 2 * 0.5, TABLE, "regression", "fractional"),
    ("several columns", RNG.normal(size=(60, 3)), TABLE, "regression", "3 columns of numbers"),
    ("one-hot", ONE_HOT, TABLE, "classification", "one-hot"),
    ("labels", np.maximum(ONE_HOT, np.eye(3)[np.arange(60) % 2]), TABLE, "multilabel", "0 and 1 in 3 columns"),
    ("signal", RNG.normal(size=(60, 1, 32)), SERIES, "dense", "a signal or field like X"),
    ("signal, other length", RNG.normal(size=(60, 1, 20)), SERIES, "dense", "a signal or field like X"),
    ("signal without channel", RNG.normal(size=(60, 32)), SERIES, "dense", "a signal or field like X"),
    ("values beside a signal", RNG.normal(size=(60, 5)), SERIES, "regression", "5 columns"),
    ("field", RNG.normal(size=(60, 2, 8, 8)), GRID, "dense", "a signal or field like X"),
    ("field without channel", RNG.normal(size=(60, 8, 8)), GRID, "dense", "a signal or field like X"),
    ("wide pair", RNG.normal(size=(60, 32)), np.zeros((60, 32)), "dense", "a signal or field like X"),
    ("narrow pair", RNG.normal(size=(60, 4)), TABLE, "regression", "4 columns"),
    (
        "labels of samples",
        np.arange(60 * 32).reshape(60, 32) % 3,
        SERIES,
        "segmentation",
        "3 integers at the positions",
    ),
    (
        "mask of bytes",
        (GRID[:, 0] + np.eye(8) > 0).astype(np.uint8),
        GRID,
        "segmentation",
        "2 integers at the positions",
    ),
    ("mask with channel", (GRID + np.eye(8)).astype(np.int64), GRID, "segmentation", "2 integers"),
    ("mask with unknowns", np.arange(60 * 64).reshape(60, 8, 8) % 3 - 1, GRID, "segmentation", "2 integers"),
    ("mask of truth values", GRID[:, 0] + np.eye(8) > 0, GRID, "segmentation", "2 integers"),
    ("mask as numbers", GRID[:, 0] + np.eye(8), GRID, "dense", "a signal or field like X"),
    ("many integers", np.arange(60 * 64).reshape(60, 8, 8) % 21, GRID, "dense", "a signal or field like X"),
    ("labels beside a signal", np.eye(5, dtype=int)[np.arange(60) % 5], SERIES, "classification", "one-hot"),
    ("truth values of another length", np.arange(60 * 5).reshape(60, 5) % 2 > 0, SERIES, "multilabel", "0 and 1 in 5"),
    ("digits", load_digits().target, None, "classification", "10 distinct"),
    ("diabetes", load_diabetes().target, None, "regression", "214 distinct"),
    ("linnerud", load_linnerud().target, None, "regression", "3 columns"),
]


@pytest.mark.parametrize(("y", "X", "kind", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_rule(y, X, kind, reason):
    found = infer_target(y, X)
    assert found.kind == kind
    assert reason in found.reason
    assert len(found.y) == len(y)
    assert found.y.dtype == (np.int64 if kind in ("classification", "segmentation") else np.float32)
    assert (found.classes is not None) == (kind in ("classification", "segmentation"))
    assert found.y.ndim == {"classification": 1, "multilabel": 2, "regression": 2}.get(kind, found.y.ndim)
    if kind == "segmentation":
        assert found.y.shape == (len(X), *X.shape[2:])
    if kind == "dense":
        assert found.y.ndim == (3 if X.ndim == 2 else X.ndim)


@pytest.mark.parametrize("labels", [["b", "a", "b"], [7, -2, 7], [2.0, 10.0, 2.0], [True, False, True]])
def test_codes_point_into_sorted_classes(labels):
    found = infer_target(np.array(labels), task="classification")
    assert_array_equal(found.y, [1, 0, 1] if labels[0] != 2.0 else [0, 1, 0])
    assert found.classes[found.y[0]] == (str(int(labels[0])) if isinstance(labels[0], float) else str(labels[0]))


def test_asking_overrules_and_says_so():
    found = infer_target(np.arange(60) % 5, task="regression")
    assert found.kind == "regression"
    assert found.reason == "task 'regression' was asked for"
    assert infer_target(ONE_HOT, task="multilabel").kind == "multilabel"
    assert infer_target(np.round(RNG.normal(size=60), 0) / 2, task="classification").classes[0].startswith("-")


@pytest.mark.parametrize(
    ("y", "task", "match"),
    [
        (np.zeros(5, int), None, "single value, '0', in every row"),
        (np.arange(60) * 1.5, "classification", "60 distinct values in 60 rows, too many for classes"),
        (np.array([f"p{i}" for i in range(60)]), None, "identifier or a continuous value"),
        (np.array(["a", "b"]), "regression", "holds text such as 'a'"),
        (np.arange(4), "multilabel", "is not a table of 0 and 1"),
        (np.arange(4), "dense", "is not a signal or field"),
        (np.maximum(ONE_HOT, np.eye(3)[np.arange(60) % 2]), "classification", "not one-hot: row"),
        (np.zeros((4, 2)) + 0.5, "classification", "one label per row"),
        (np.zeros((4, 2, 3)), "regression", "regression needs"),
        (np.array([["a", "b"]] * 3), None, "2 columns of strings"),
        (np.zeros(3, complex), None, "neither numbers nor strings"),
        (np.zeros((5, 8), int), "segmentation", "1 distinct value at its positions; segmentation needs 2"),
        (np.where(np.eye(8) > 0, 1, -1), "segmentation", "-1 and missing values stand for positions"),
        (np.arange(8 * 8).reshape(8, 8) % 3 - 2, "segmentation", "holds the code -2"),
        (np.arange(4), "segmentation", "does not hold one class per position"),
        (np.arange(2 * 600.0).reshape(2, 600), "segmentation", "measured values, not classes"),
        (np.zeros(0), None, "has no rows"),
        (np.float64(3), None, "is a single value, not one per row"),
    ],
)
def test_targets_that_fit_no_task(y, task, match):
    with pytest.raises(TaskError, match=match):
        infer_target(y, task=task)


def test_codes_of_maps_point_into_sorted_classes_and_leave_out_unknown_positions():
    found = infer_target(np.array([[7, -1, 2], [2, 2, 7]]), task="segmentation")
    assert found.classes == ("2", "7")
    assert_array_equal(found.y, [[1, -1, 0], [0, 0, 1]])
    named = infer_target(np.array([["coil", "", "helix"], ["helix", "coil", "coil"]]), task="segmentation")
    assert named.classes == ("coil", "helix")
    assert_array_equal(named.y, [[0, -1, 1], [1, 0, 0]])
    gaps = infer_target(np.array([[7.0, np.nan, 2.0], [2.0, 2.0, 7.0]]), task="segmentation")
    assert_array_equal(gaps.y, found.y)
    wide = infer_target(np.array([[10**9, -1, 2], [2, 2, 10**9]]), task="segmentation")  # beyond the look-up table
    assert_array_equal(wide.y, found.y)


def test_maps_for_a_trained_model_use_its_classes():
    known = infer_target(np.array([[7, -1, 7]]), task="segmentation", classes=["2", "7", "9"])
    assert_array_equal(known.y, [[1, -1, 1]])
    assert known.classes == ("2", "7", "9")
    with pytest.raises(TaskError, match="holds '5', which the model was not trained on"):
        infer_target(np.array([[7, -1, 5]]), task="segmentation", classes=["2", "7", "9"])
