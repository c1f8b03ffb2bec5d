"""A small task of real pictures that scikit-learn ships: which region of two photographs a tile was cut from.

520 tiles of 32 x 32 grey pixels from ``china.jpg`` and ``flower.jpg``, each in 2 x 3 regions: twelve classes.
"""

from __future__ import annotations

import numpy as np

from crosstune.records import Dataset

SIDE, ROWS, COLUMNS = 32, 2, 3


def photographs() -> Dataset:
    from sklearn.datasets import load_sample_images

    tiles, labels = [], []
    for number, image in enumerate(load_sample_images().images):
        grey = np.asarray(image, np.float32).mean(-1)
        down, across = grey.shape[0] // SIDE, grey.shape[1] // SIDE
        cut = grey[: down * SIDE, : across * SIDE].reshape(down, SIDE, across, SIDE).transpose(0, 2, 1, 3)
        row, column = np.meshgrid(np.arange(down) * ROWS // down, np.arange(across) * COLUMNS // across, indexing="ij")
        tiles.append(cut.reshape(-1, 1, SIDE, SIDE))
        labels.append((number * ROWS * COLUMNS + row * COLUMNS + column).ravel())
    names = tuple(f"{name} {k}" for name in ("china", "flower") for k in range(ROWS * COLUMNS))
    return Dataset(
        X=np.concatenate(tiles), y=np.concatenate(labels).astype(np.int64), kind="classification", classes=names,
        name="photographs",
    )  # fmt: skip
