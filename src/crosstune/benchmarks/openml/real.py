"""Sets whose real rows need no download: bundled with scikit-learn, or complete enumerations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from crosstune.data.arff import Attribute

Columns = tuple[tuple[Attribute, ...], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Real:
    """build: attributes and columns, the target among them. origin: one sentence. whole: whether these are all rows of
    the published set."""

    build: Callable[[], Columns]
    origin: str
    whole: bool = True


def _numeric(names: list[str], x: np.ndarray) -> Columns:
    return tuple(Attribute(name, "numeric") for name in names), tuple(x.T.astype(np.float64))


def _with_target(features: Columns, name: str, values: tuple[str, ...], codes: np.ndarray, first: bool) -> Columns:
    target, column = Attribute(name, "nominal", values), np.asarray(codes, np.int64)
    attributes, columns = features
    if first:
        return (target, *attributes), (column, *columns)
    return (*attributes, target), (*columns, column)


def _iris() -> Columns:
    """The 150 flowers with the two slips of the widely copied file, which scikit-learn corrected after Fisher (1936):
    rows 35 and 38, counted from 1, read 4.9, 3.1, 1.5, 0.1."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    x = x.copy()
    x[[34, 37]] = [4.9, 3.1, 1.5, 0.1]
    names = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
    features = _numeric(["sepallength", "sepalwidth", "petallength", "petalwidth"], x)
    return _with_target(features, "class", names, y, first=False)


def _wine() -> Columns:
    from sklearn.datasets import load_wine

    bunch = load_wine()
    return _with_target(
        _numeric(list(bunch.feature_names), bunch.data), "class", ("1", "2", "3"), bunch.target, first=True
    )


def _wdbc() -> Columns:
    """Class 1 is benign, 2 malignant."""
    from sklearn.datasets import load_breast_cancer

    x, benign = load_breast_cancer(return_X_y=True)
    return _with_target(_numeric([f"V{i}" for i in range(1, 31)], x), "Class", ("1", "2"), 1 - benign, first=False)


def _optdigits() -> Columns:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    names = tuple(str(digit) for digit in range(10))
    return _with_target(_numeric([f"input{i}" for i in range(1, 65)], x), "class", names, y, first=False)


def _balance_scale() -> Columns:
    """Every combination of two weights and two distances from 1 to 5; the class is the side of the larger product."""
    x = np.array(list(product(range(1, 6), repeat=4)), np.float64)
    left, right = x[:, 0] * x[:, 1], x[:, 2] * x[:, 3]
    codes = np.where(left > right, 0, np.where(left == right, 1, 2))
    names = ["left-weight", "left-distance", "right-weight", "right-distance"]
    return _with_target(_numeric(names, x), "class", ("L", "B", "R"), codes, first=False)


_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
_B, _O, _X = range(3)


def _tic_tac_toe() -> Columns:
    """Every board at the end of a game that x began; positive where x has three in a row."""
    boards = [board for board in product((_X, _O, _B), repeat=9) if _ended(board)]
    won = np.array([_has_line(board, _X) for board in boards])
    order = np.argsort(~won, kind="stable")
    cells = [f"{row}-{column}-square" for row in ("top", "middle", "bottom") for column in ("left", "middle", "right")]
    attributes = tuple(Attribute(cell, "nominal", ("b", "o", "x")) for cell in cells)
    columns = tuple(np.array(boards, np.int64)[order].T)
    return _with_target((attributes, columns), "Class", ("negative", "positive"), won[order], first=False)


def _has_line(board: tuple[int, ...], sign: int) -> bool:
    return any(all(board[cell] == sign for cell in line) for line in _LINES)


def _ended(board: tuple[int, ...]) -> bool:
    ahead = board.count(_X) - board.count(_O)
    x, o = _has_line(board, _X), _has_line(board, _O)
    if x or o:
        return x != o and ahead == (1 if x else 0)
    return _B not in board and ahead == 1


REAL: dict[int, Real] = {
    11: Real(_balance_scale, "the complete set: every combination of weights and distances"),
    28: Real(_optdigits, "the 1,797 rows that scikit-learn bundles, of 5,620", whole=False),
    50: Real(_tic_tac_toe, "the complete set: every board at the end of a game, in another order"),
    61: Real(_iris, "the data that scikit-learn bundles, with the two slips of the published file"),
    187: Real(_wine, "the data that scikit-learn bundles"),
    1510: Real(_wdbc, "the data that scikit-learn bundles"),
}
