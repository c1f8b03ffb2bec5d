"""Synthetic pictures for the two CIFAR-100 tasks: every class is a smooth pattern of colours of its own."""

from __future__ import annotations

import numpy as np

CLASSES = 100
MODES = 4


def patterns(size: int, rng: np.random.Generator) -> np.ndarray:
    """(100, 3, size, size) float64 in -1..1: sums of four waves per class and colour."""
    place = 2 * np.pi * np.arange(size) / size
    out = np.zeros((CLASSES, 3, size, size))
    for _ in range(MODES):
        across, down = rng.integers(0, 4, (2, CLASSES, 3, 1, 1))
        phase, weight = rng.uniform(0, 2 * np.pi, (CLASSES, 3, 1, 1)), rng.normal(size=(CLASSES, 3, 1, 1))
        out += weight * np.cos(across * place + down * place[:, None] + phase)
    return out / np.abs(out).max(axis=(1, 2, 3), keepdims=True)


def pictures(pattern: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 (n, 3, size, size): the class's pattern at a contrast and brightness of its own, with noise."""
    contrast, brightness = rng.uniform(40, 90, (len(labels), 1, 1, 1)), rng.uniform(100, 155, (len(labels), 1, 1, 1))
    noise = rng.normal(0, 15, (len(labels), *pattern.shape[1:]))
    return np.clip(np.round(brightness + contrast * pattern[labels] + noise), 0, 255).astype(np.uint8)


def shuffled_labels(count: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of which the first hundred, and so every part that is a hundred or more, hold every class."""
    blocks = [rng.permutation(CLASSES) for _ in range(-(-count // CLASSES))]
    return np.concatenate(blocks)[:count]
