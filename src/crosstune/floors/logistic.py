"""Logistic regression with its penalty chosen by inner cross-validation, for one or several binary or class targets."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from crosstune.floors.common import spread_columns

if TYPE_CHECKING:  # a second of imports, which listing the floors must not cost
    from sklearn.linear_model import LogisticRegression

_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse strengths C, from strong to weak
_FOLDS = 3
_ITERATIONS = 100


class Logistic:
    """Targets (n, T) of integer codes; one multinomial model per column, one C for all of them.

    C minimises the log loss over three folds; each fold walks from strong to weak penalties, starting each fit where
    the last one ended, and stops when the loss has risen twice. With more features than rows, features are rotated
    into the span of the rows first, which changes nothing under an L2 penalty but the size of the problem.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self.classes = classes
        self.c = 1.0
        self._seed = seed

    def fit(self, z: np.ndarray, targets: np.ndarray) -> Logistic:
        """z: (n, d) centred; targets: (n, T) codes below ``classes``."""
        self._basis = _span(z) if z.shape[1] > z.shape[0] else None
        z = self._rotated(z)
        self.c = self._choose(z, targets)
        self._models = [self._one(z, column, self.c) for column in targets.T]
        return self

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Probabilities (m, T, classes)."""
        z = self._rotated(z)
        return np.stack([self._probabilities(model, z) for model in self._models], axis=1)

    def _rotated(self, z: np.ndarray) -> np.ndarray:
        return z if self._basis is None else z @ self._basis

    def _choose(self, z: np.ndarray, targets: np.ndarray) -> float:
        folds = self._folds(targets)
        if not folds:
            return 1.0
        losses = np.full((len(_PENALTIES), len(folds)), np.inf)
        for f, (inner, outer) in enumerate(folds):
            losses[:, f] = self._path(z, targets, inner, outer)
        return _PENALTIES[int(np.argmin(losses.mean(axis=1)))]

    def _folds(self, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        from sklearn.model_selection import KFold, StratifiedKFold

        if len(targets) < 2 * _FOLDS:
            return []
        largest = np.bincount(targets[:, 0]).max()
        stratified = targets.shape[1] == 1 and largest >= _FOLDS
        splitter = (StratifiedKFold if stratified else KFold)(_FOLDS, shuffle=True, random_state=self._seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes rarer than the folds are ordinary here
            return list(splitter.split(targets, targets[:, 0]))

    def _path(self, z: np.ndarray, targets: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
        losses = np.full(len(_PENALTIES), np.inf)
        models: list[LogisticRegression | int] = [_start(targets[inner, t]) for t in range(targets.shape[1])]
        for i, c in enumerate(_PENALTIES):
            loss = 0.0
            for t, model in enumerate(models):
                if not isinstance(model, int):
                    _fit(model.set_params(C=c, tol=1e-3), z[inner], targets[inner, t])
                p = self._probabilities(model, z[outer])[np.arange(len(outer)), targets[outer, t]]
                loss -= float(np.mean(np.log(np.clip(p, 1e-6, 1))))
            losses[i] = loss
            if i >= 2 and losses[i] > losses[i - 1] > losses[i - 2]:
                break
        return losses

    def _one(self, z: np.ndarray, codes: np.ndarray, c: float) -> LogisticRegression | int:
        model = _start(codes)
        return model if isinstance(model, int) else _fit(model.set_params(C=c, max_iter=3 * _ITERATIONS), z, codes)

    def _probabilities(self, model: LogisticRegression | int, z: np.ndarray) -> np.ndarray:
        if isinstance(model, int):
            return spread_columns(np.ones((len(z), 1)), np.array([model]), self.classes)
        return spread_columns(model.predict_proba(z), model.classes_, self.classes)


def _start(codes: np.ndarray) -> LogisticRegression | int:
    """An untrained model, or the code itself where there is only one."""
    from sklearn.linear_model import LogisticRegression

    if (codes == codes[0]).all():
        return int(codes[0])
    return LogisticRegression(warm_start=True, max_iter=_ITERATIONS)


def _fit(model: LogisticRegression, z: np.ndarray, codes: np.ndarray) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(z, codes)


def _span(z: np.ndarray) -> np.ndarray:
    """An orthonormal basis (d, r) of the row space of z (n, d), n < d."""
    values, vectors = np.linalg.eigh(z @ z.T)
    keep = values > 1e-12 * max(float(values[-1]), np.finfo(float).tiny)
    return z.T @ vectors[:, keep] / np.sqrt(values[keep])


def logistic_cost(rows: int, features: int, classes: int, targets: int) -> float:
    """Seconds on one core: 15 fits on the way along the path in three folds and at the end, 25 iterations each."""
    rank = min(rows, features)
    columns = 1 if classes == 2 else classes
    rotate = (4 * rows * features * rank + 12 * rank**3) / 1.5e10 if features > rows else 0.0
    fits = 15 * targets
    return rotate + fits * (0.01 + 25 * 6 * rows * rank * columns / 1.2e10)
