"""What floors share: planning how many rows are affordable, subsampling them, and targets as matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from crosstune.errors import TaskError
from crosstune.records import Dataset
from crosstune.seeding import Streams

_FEWEST_ROWS = 64
_CHUNK_VALUES = 8_000_000  # input values flattened at once while predicting: 64 MB of float64


def class_count(train: Dataset) -> int:
    """K: the number of classes known, seen or not."""
    assert train.y is not None
    return len(train.classes) if train.classes else int(train.y.max()) + 1


def require_target(train: Dataset) -> np.ndarray:
    """The target, or ``TaskError`` for data without rows or target."""
    if train.y is None or not len(train):
        raise TaskError(f"data {train.name!r} has no {'rows' if train.y is not None else 'target'} to learn from")
    return train.y


def input_size(data: Dataset) -> int:
    """Values per row."""
    return int(np.prod(data.X.shape[1:]))


def canonical_shape(train: Dataset, rows: int) -> tuple[int, ...]:
    """Shape of a canonical prediction of ``rows`` rows by a model of this data."""
    y = require_target(train)
    if train.kind == "classification":
        return (rows, class_count(train))
    if train.kind == "segmentation":
        return (rows, class_count(train), *y.shape[1:])
    return (rows, *y.shape[1:])


def target_matrix(y: np.ndarray) -> np.ndarray:
    """Values or fields (n, ...) as float64 (n, K)."""
    return y.reshape(len(y), int(np.prod(y.shape[1:]))).astype(np.float64)


def one_hot(codes: np.ndarray, classes: int) -> np.ndarray:
    """Codes (n,) as float64 (n, K)."""
    return np.eye(classes)[codes]


def spread_columns(values: np.ndarray, codes: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (n, len(codes)) of the classes a model saw, as (n, K) over all classes known."""
    full = np.zeros((len(values), classes))
    full[:, np.asarray(codes, dtype=np.int64)] = values
    return full


def affordable(train: Dataset, cost: Callable[[int], float], seconds: float, seed: int) -> tuple[Dataset, str]:
    """The training rows that a cost model says fit into ``seconds``, and a note if that is not all of them.

    cost: seconds for n rows, not decreasing in n. At least 64 rows are kept. Classes keep their proportions, each at
    least one row.
    """
    n = len(train)
    if n <= _FEWEST_ROWS or cost(n) <= seconds:
        return train, ""
    low, high = _FEWEST_ROWS, n  # cost(low) is accepted whatever it is; cost(high) is too much
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= seconds else (low, middle)
    rows = subsample(train, low, Streams(seed)["floor-rows"])
    return train.take(rows), f"trained on {len(rows):,} of {n:,} rows to keep the time limit"


def subsample(train: Dataset, size: int, generator: np.random.Generator) -> np.ndarray:
    """Sorted numbers of ``size`` rows; classes keep their proportions."""
    order = generator.permutation(len(train))
    if train.kind != "classification" or train.y is None:
        return np.sort(order[:size])
    codes = train.y[order]
    _, codes, counts = np.unique(codes, return_inverse=True, return_counts=True)
    place = np.empty(len(order))  # the r-th of m rows of a class stands at r / m: a prefix is then in proportion
    for code, count in enumerate(counts):
        place[codes == code] = np.arange(count) / count
    return np.sort(order[np.argsort(place, kind="stable")[:size]])


def flatten_cost(values: int, rows: int, most: int) -> float:
    """Seconds on one core for flattening ``rows`` rows of ``values`` values, and as many queries, to at most ``most``
    features: a few passes over the values, and the sparse projection where there are more (sqrt(values) terms each).
    """
    projection = most * np.sqrt(values) * 2e-9 if values > most else 0.0
    return float(2 * rows * (values * 5e-8 + projection))


def chunks(data: Dataset) -> Iterator[Dataset]:
    """The rows in order, in pieces small enough to flatten."""
    size = max(1, _CHUNK_VALUES // max(1, input_size(data)))
    for start in range(0, len(data), size):
        yield data.take(np.arange(start, min(start + size, len(data))))


def joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
