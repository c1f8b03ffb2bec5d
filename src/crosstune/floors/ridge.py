"""Ridge regression in closed form, its penalty by leave-one-out error. Shared by the linear and ROCKET floors."""

from __future__ import annotations

import numpy as np

from crosstune.seeding import Streams

_PENALTIES = np.logspace(-10, 4, 29)  # times the largest eigenvalue of the Gram matrix
_RANK_TOLERANCE = 1e-13  # of the largest eigenvalue
_MOST_ROUNDS, _MOST_CHOICES = 200, 5  # of filling gaps, and of choosing the penalty for filled ones
_OPERATIONS = 1.5e10  # in a second
_SKETCH = 64  # outputs beyond which the penalty is chosen on random combinations of them


class Ridge:
    """min ||Y - 1 b' - Z W||^2 + alpha ||W||^2 with one alpha for all outputs.

    alpha minimises the leave-one-out error, in closed form r_i / (1 - h_ii) with the hat matrix H of the centred
    problem plus 1/n for the intercept (Allen 1974; Golub, Heath and Wahba 1979). Outputs are weighed by the inverse
    of their variance. With more than 64 outputs the choice is made on 64 random combinations of them, which keeps
    the expected error of every alpha.

    Where y is NaN it does not count: gaps are filled with the model's own predictions and the model is fitted again,
    until neither changes. Each round lowers the penalised error of the known values (majorisation), and where it stays
    the same their normal equations hold. alpha is chosen anew for filled gaps until it stays, at most five times.
    seconds: what this filling may take.
    """

    alpha: float

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds

    def fit(self, z: np.ndarray, y: np.ndarray, seed: int) -> Ridge:
        """z: (n, d) float64; y: (n, K) float64, NaN where unknown. Costs about 2 n d min(n, d) + 9 min(n, d)^3
        operations."""
        self._center = z.mean(axis=0)
        self._left, self._values, self._right = _decompose(z - self._center)
        gaps = np.isnan(y)
        if not gaps.any():
            self._solve(y, self._choose(y, seed))
            return self
        counts = np.maximum((~gaps).sum(axis=0), 1)
        y = np.where(gaps, np.where(gaps, 0.0, y).sum(axis=0) / counts, y)
        each = 4 * self._left.size * y.shape[1] / _OPERATIONS
        rounds = int(np.clip(self._seconds / _MOST_CHOICES / each, 3, _MOST_ROUNDS))
        last = None
        for _ in range(_MOST_CHOICES):
            alpha = self._choose(y, seed)
            if alpha == last:
                break
            last = alpha
            y = self._filled(y, gaps, alpha, rounds)
        return self

    def _filled(self, y: np.ndarray, gaps: np.ndarray, alpha: float, rounds: int) -> np.ndarray:
        """y with its gaps at what the model says, which is solved for them."""
        small = 1e-5 * max(float(y.std()), np.finfo(float).tiny)
        for _ in range(rounds):
            self._solve(y, alpha)
            guess = self._left @ (np.sqrt(self._values)[:, None] * self._coefficients) + self._mean
            change = np.abs(guess - y)[gaps].max()
            y = np.where(gaps, guess, y)
            if change <= small:
                break
        self._solve(y, alpha)
        return y

    def _choose(self, y: np.ndarray, seed: int) -> float:
        centred = y - y.mean(axis=0)
        scale = centred.std(axis=0)
        weighted = centred / np.where(scale > 0, scale, 1)
        if y.shape[1] > _SKETCH:
            weighted = weighted @ Streams(seed)["ridge-sketch"].normal(size=(y.shape[1], _SKETCH))
        penalties = _PENALTIES * (self._values.max() if len(self._values) else 1.0)
        errors = [float(np.mean(self._left_out(weighted, alpha) ** 2)) for alpha in penalties]
        # The largest of equally good penalties: exact fits tie at rounding error.
        best = np.flatnonzero(np.array(errors) <= min(errors) * (1 + 1e-9))
        return float(penalties[best[-1]])

    def _solve(self, y: np.ndarray, alpha: float) -> None:
        self.alpha, self._mean = alpha, y.mean(axis=0)
        centred = y - self._mean
        self._coefficients = (np.sqrt(self._values) / (self._values + self.alpha))[:, None] * (self._left.T @ centred)
        self._centred = centred

    def predict(self, z: np.ndarray) -> np.ndarray:
        """(m, d) to (m, K)."""
        return ((z - self._center) @ self._right) @ self._coefficients + self._mean

    def left_out(self) -> np.ndarray:
        """Predictions (n, K) of each training row by the model that has not seen it."""
        return self._centred + self._mean - self._left_out(self._centred, self.alpha)

    def _left_out(self, centred: np.ndarray, alpha: float) -> np.ndarray:
        """Leave-one-out residuals (n, K). The shrunk part is kept apart from the part outside the span of the
        features, which is exactly nothing at full rank, so that no digits cancel where alpha is small.
        """
        shrunk = alpha / (self._values + alpha)
        inside = self._left.T @ centred
        squares = self._left**2
        residual, free = self._left @ (shrunk[:, None] * inside), squares @ shrunk
        if len(self._values) < len(centred) - 1:
            residual += centred - self._left @ inside
            free += np.maximum(0.0, 1 - 1 / len(centred) - squares.sum(axis=1))
        return residual / np.maximum(free, np.finfo(float).eps)[:, None]


def _decompose(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left vectors (n, r), squared singular values (r,), right vectors (d, r) of centred z, by the smaller Gram
    matrix. Its error of about 1e-16 relative to the largest eigenvalue lies far below the smallest penalty.
    """
    wide = z.shape[1] > z.shape[0]
    values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    keep = values > _RANK_TOLERANCE * max(float(values[-1]), np.finfo(float).tiny)
    values, vectors = values[keep], vectors[:, keep]
    other = (z.T if wide else z) @ vectors / np.sqrt(values)
    return (vectors, values, other) if wide else (other, values, vectors)


def ridge_cost(rows: int, features: int, outputs: int) -> float:
    """Seconds on one core for fitting, from the operation count at 1.5e10 per second."""
    rank = min(rows, features)
    scans = 4 * len(_PENALTIES) * rows * rank * min(outputs, _SKETCH)
    return (4 * rows * features * rank + 12 * rank**3 + scans + 4 * rows * rank * outputs) / 1.5e10
