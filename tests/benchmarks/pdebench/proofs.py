"""What the proofs of several solvers share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def observed_order(errors: Sequence[float], ratio: float = 2.0) -> np.ndarray:
    """Orders between consecutive grids, each finer by ``ratio``."""
    values = np.asarray(errors)
    return np.log(values[:-1] / values[1:]) / np.log(ratio)


def fingerprint(values: np.ndarray, step: float) -> str:
    """sha256 of the values in whole multiples of ``step``.

    Other libraries and processors change the last bits of a result, which would change a hash of the values. Here only
    a value within such a bit of the border between two multiples could; the assertion makes sure that there is none:
    no value is nearer to a border than a thousandth of the step, which is far more than any rounding.
    """
    scaled = np.asarray(values, np.float64).ravel() / step
    distance = np.abs(scaled - np.floor(scaled) - 0.5)
    assert distance.min() > 1e-3, f"choose another step: a value is {distance.min():.1e} from a border"
    return hashlib.sha256(np.rint(scaled).astype("<i8").tobytes()).hexdigest()[:16]
