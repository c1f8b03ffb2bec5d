"""Errors of maps of distances between residues (n, 1, S, S), NaN where a position lies outside the protein.

MAE8 (Adhikari 2020, PDNET): the mean absolute error of a protein over pairs (j, k) at least 24 residues apart along the
chain and at most 8 Angstrom apart in truth, then the mean over proteins. A protein without such a pair is left out.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics.base import Kept, Metric
from crosstune.records import TargetKind

SEPARATION = 24  # residues
CONTACT = 8.0  # Angstrom
_FLOOR = 0.01  # Angstrom: the public code raises smaller predictions to it
_KINDS: tuple[TargetKind, ...] = ("dense",)


def _maps(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, S, S) each. DataError for fields that are not one square map per row."""
    if prediction.ndim != 4 or prediction.shape[1] != 1 or prediction.shape[2] != prediction.shape[3]:
        raise DataError(
            f"MAE8 needs one square map of distances per row, (n, 1, S, S), got {prediction.shape}",
            cause="a metric of protein distances on another task",
            fix="use --metric mae-field",
        )
    return prediction[:, 0], target[:, 0]


def _far_contacts(target: np.ndarray) -> np.ndarray:
    """Booleans (S, S): pairs k - j >= 24 with a true distance of at most 8. A NaN compares as false."""
    with np.errstate(invalid="ignore"):
        return np.triu(np.ones(target.shape, bool), SEPARATION) & (target <= CONTACT)


def _mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return math.fsum(known.tolist()) / len(known) if len(known) else math.nan


class _Mae8(Metric):
    kinds = _KINDS

    def left_out(self, target: np.ndarray) -> str | None:
        without = sum(not _far_contacts(y).any() for y in target[:, 0])
        return f"{without} of {len(target)} proteins have no far contact and were left out" if without else None


class Mae8(_Mae8):
    """symmetrise: "mean" takes the mean of both triangles of the prediction, None its upper triangle as it is."""

    def __init__(self, name: str, symmetrise: Literal["mean"] | None) -> None:
        self.name, self.symmetrise = name, symmetrise
        which = "of the mean of both triangles" if symmetrise else "of the upper triangle as predicted"
        self.summary = (
            f"mean absolute error in Angstrom {which}, over pairs 24 or more residues apart and at most 8 Angstrom in "
            "truth; mean over proteins, those without such a pair left out"
        )

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        values = []
        for p, y in zip(*_maps(prediction, target)):
            p = (p + p.T) / 2 if self.symmetrise else p
            pairs = _far_contacts(y)
            values.append(np.abs(p[pairs] - y[pairs]).mean() if pairs.any() else math.nan)
        return (np.array(values),)

    def finish(self, *kept: np.ndarray) -> float:
        return _mean_known(kept[0])


class ShippedMae8(_Mae8):
    """MAE8 as the public code computes it, with its three deviations.

    Every protein is cut to the length of the first row, so longer ones lose their far pairs; the upper triangle is
    averaged with the lower one twice, which gives 0.25 upper + 0.75 lower; in between, predictions below 0.01 Angstrom
    are raised to it. Kept per row: error and number of pairs by their column k, so that any cut can be made at the end.
    """

    name, ordered = "shipped-mae8", True
    summary = (
        "MAE8 as in public code: all proteins cut to the length of the first row, prediction 0.25 upper + 0.75 lower "
        "triangle, at least 0.01 Angstrom"
    )

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        maps, truths = _maps(prediction, target)
        errors, counts = np.zeros(maps.shape[:2]), np.zeros(maps.shape[:2], np.int64)
        lengths = np.zeros(len(maps), np.int64)
        for row, (p, y) in enumerate(zip(maps, truths)):
            inside = np.flatnonzero(~np.isnan(np.diagonal(y)))
            if not len(inside):
                continue
            first, lengths[row] = inside[0], len(inside)
            upper, lower = np.maximum((p + p.T) / 2, _FLOOR), np.maximum(p.T, _FLOOR)
            pairs = _far_contacts(y)
            off = np.where(pairs, np.abs((upper + lower) / 2 - np.nan_to_num(y)), 0.0)
            errors[row, : len(y) - first] = off.sum(axis=0)[first:]
            counts[row, : len(y) - first] = pairs.sum(axis=0)[first:]
        return errors, counts, lengths

    def finish(self, *kept: np.ndarray) -> float:
        errors, counts, lengths = kept
        length = int(lengths[0])
        total, number = errors[:, :length].sum(axis=1), counts[:, :length].sum(axis=1)
        return _mean_known(np.divide(total, number, out=np.full(len(total), math.nan), where=number > 0))


METRIC = (Mae8("mae8", "mean"), Mae8("mae8-upper", None), ShippedMae8())
