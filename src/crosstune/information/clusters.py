"""Classes for targets that have none: k-means on flattened targets, and a vectorised index of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans

from crosstune.errors import DataError, UsageError

MINIBATCH_ROWS = 10_000


@dataclass(frozen=True)
class Clusters:
    """labels: (n,) int64 codes; centres: (k, features) float64 in flattened target units; inertia: sum of squares."""

    labels: np.ndarray
    centres: np.ndarray
    inertia: float


@dataclass(frozen=True)
class ClassIndex:
    """Rows sorted by class: those of class c are ``order[starts[c]:starts[c + 1]]``, in their original order."""

    order: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, code: int) -> np.ndarray:
        """Row numbers of one class, int64, ascending."""
        return self.order[self.starts[code] : self.starts[code + 1]]


def cluster_targets(y: np.ndarray | torch.Tensor, k: int, seed: int) -> Clusters:
    """k-means classes of targets (n, ...), flattened to (n, features), with a fixed seed.

    MiniBatchKMeans above 10,000 rows. Same data and seed, same labels. Raises ``DataError`` for NaN targets and
    ``UsageError`` when k is not between 1 and n.
    """
    values = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    flat = values.reshape(values.shape[0], -1).astype(np.float64)
    if not np.isfinite(flat).all():
        raise DataError(
            f"targets have {int((~np.isfinite(flat)).any(axis=1).sum())} rows with NaN or infinite values",
            fix="drop those rows or choose another target",
        )
    if not 1 <= k <= flat.shape[0]:
        raise UsageError(f"clusters:{k} asked for {flat.shape[0]} targets", fix=f"use between 1 and {flat.shape[0]}")
    k = min(k, len(np.unique(flat, axis=0))) if flat.shape[0] <= MINIBATCH_ROWS else k
    if flat.shape[0] > MINIBATCH_ROWS:
        model = MiniBatchKMeans(n_clusters=k, random_state=seed % 2**32, n_init=3, batch_size=4096)
    else:
        model = KMeans(n_clusters=k, random_state=seed % 2**32, n_init=3)
    model.fit(flat)
    return Clusters(
        labels=model.labels_.astype(np.int64), centres=model.cluster_centers_, inertia=float(model.inertia_)
    )


def class_index(labels: np.ndarray | torch.Tensor, num_labels: int | None = None) -> ClassIndex:
    """One stable argsort and one bincount instead of a scan per class. labels: (n,) codes >= 0."""
    codes = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer) or (codes.size and codes.min() < 0):
        raise DataError(f"labels have shape {codes.shape} and dtype {codes.dtype}, expected integer codes (n,) >= 0")
    counts = np.bincount(codes, minlength=num_labels or 0)
    return ClassIndex(order=np.argsort(codes, kind="stable"), starts=np.concatenate([[0], np.cumsum(counts)]))
