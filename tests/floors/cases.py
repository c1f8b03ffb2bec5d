"""Small data of every target kind and modality, with the irregularities that real files have."""

from dataclasses import replace

import numpy as np

from crosstune.records import FIELD_KINDS, Dataset

SHAPES = {"table": (5,), "series": (2, 20), "grid": (1, 6, 6), "volume": (1, 3, 4, 4)}


def data(kind, modality, rows=90, seed=0):
    """Inputs whose first values decide the target, so that every model beats chance."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[modality]
    X = rng.normal(size=(rows, *shape)).astype(np.float32)
    signal = X.reshape(rows, -1)[:, :3].astype(np.float64)
    made = Dataset(X, kind=kind, name=f"{kind} {modality}")
    if kind == "classification":
        return replace(made, y=signal.argmax(axis=1).astype(np.int64), classes=("a", "b", "c"))
    if kind == "multilabel":
        return replace(made, y=(signal > 0).astype(np.float32))
    if kind == "regression":
        return replace(made, y=(signal @ rng.normal(size=(3, 2))).astype(np.float32))
    if kind == "segmentation":
        y = (X[:, :4] if modality == "table" else X.mean(axis=1)) > 0
        return replace(made, y=np.where(rng.random(y.shape) < 0.1, -1, y.astype(np.int64)), classes=("low", "high"))
    field = (2, *shape[1:]) if len(shape) > 1 else (2, 4)
    weights = rng.normal(size=(int(np.prod(shape)), int(np.prod(field))))
    return replace(made, y=(X.reshape(rows, -1) @ weights).reshape(rows, *field).astype(np.float32))


def with_missing(made, share=0.1, seed=1):
    """NaN at random places, all of them in one row."""
    X = made.X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    X[3] = np.nan
    return replace(made, X=X)


def ragged(made, seed=2):
    """Series of different lengths, padded with zeros, as their fields are."""
    lengths = np.random.default_rng(seed).integers(3, made.X.shape[2] + 1, size=len(made))
    X, y = made.X.copy(), made.y.copy()
    for i, length in enumerate(lengths):
        X[i, :, length:] = 0
        if made.kind in FIELD_KINDS:
            y[i, ..., length:] = 0 if made.kind == "dense" else -1
    return replace(made, X=X, y=y, lengths=lengths)


def categorical(made, seed=3):
    """A table with a column of three categories, one of them missing in the first half, and gaps."""
    X = made.X.copy()
    X[:, -1] = np.random.default_rng(seed).integers(0, 3, size=len(made))
    half = len(made) // 2
    X[:half, -1][X[:half, -1] == 2] = np.nan
    return replace(made, X=X, categories={made.X.shape[1] - 1: ("red", "green", "blue")})


def halves(made):
    half = len(made) // 2
    return made.take(np.arange(half)), made.take(np.arange(half, len(made)))
