"""Class maps (n, ...) of integer codes, -1 where nothing is known: frequencies, votes, and series of other lengths."""

from __future__ import annotations

import numpy as np

from crosstune.records import IGNORED

_VOTE_OPERATIONS = 2e8  # comparisons spent on choosing a number of neighbours


def frequencies(codes: np.ndarray, classes: int) -> np.ndarray:
    """Class frequencies (K, ...) at each position of (n, ...), one row's worth of the overall frequencies added: what
    is known of positions that are rarely labelled."""
    counts = np.stack([(codes == k).sum(axis=0) for k in range(classes)]).astype(np.float64)
    overall = counts.reshape(classes, -1).sum(axis=1)
    overall = overall / overall.sum() if overall.any() else np.full(classes, 1 / classes)
    counts += overall.reshape(-1, *[1] * (counts.ndim - 1))
    return counts / counts.sum(axis=0)


def votes(codes: np.ndarray, neighbours: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Probabilities (m, K, ...) from the maps of neighbours (m, k), nearer ones weighing so little more that only ties
    are decided by it; where no neighbour knows, the prior (K, ...)."""
    out = np.repeat(1e-6 * prior[None], len(neighbours), axis=0)
    for rank in range(neighbours.shape[1]):
        _count(out, codes[neighbours[:, rank]], 1 + 1e-3 / (rank + 1))
    return out / out.sum(axis=1, keepdims=True)


def best_neighbours(codes: np.ndarray, neighbours: np.ndarray, options: list[int], prior: np.ndarray) -> int:
    """Which of the numbers of neighbours has the smallest pixel error on rows (m, ...) that are not their own
    neighbours (m, k); the smallest of equal ones."""
    classes, positions = len(prior), max(1, codes[0].size)
    rows = int(np.clip(_VOTE_OPERATIONS / (options[-1] * classes * positions), 20, len(neighbours)))
    picks = np.unique(np.linspace(0, len(neighbours) - 1, rows).astype(int))
    out = np.repeat(1e-6 * prior[None], len(picks), axis=0)
    true, errors = codes[picks], []
    for rank in range(options[-1]):
        _count(out, codes[neighbours[picks, rank]], 1 + 1e-3 / (rank + 1))
        if rank + 1 in options:
            errors.append(np.mean((out.argmax(axis=1) != true)[true != IGNORED]))
    return options[int(np.argmin(errors))]


def _count(out: np.ndarray, codes: np.ndarray, weight: float) -> None:
    for k in range(out.shape[1]):
        out[:, k] += weight * (codes == k)


def stretch_codes(codes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Maps (n, L) whose first ``lengths[i]`` positions are valid, spread over all L of them."""
    places = (np.arange(codes.shape[1]) + 0.5) / codes.shape[1] * np.asarray(lengths)[:, None]
    return np.take_along_axis(codes, places.astype(np.int64), axis=1)


def shrink_maps(values: np.ndarray, lengths: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The inverse for probabilities (n, K, L): the first ``lengths[i]`` positions, and (K,) behind them."""
    size = values.shape[2]
    places = (np.arange(size) + 0.5) * size / np.asarray(lengths)[:, None]
    valid = np.arange(size) < np.asarray(lengths)[:, None]
    moved = np.take_along_axis(values, np.minimum(places, size - 1).astype(np.int64)[:, None], axis=2)
    return np.where(valid[:, None], moved, behind[None, :, None])
