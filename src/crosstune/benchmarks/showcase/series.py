"""Series that aeon ships: one channel or several, of one length or ragged, to classes or to a value."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from crosstune.benchmarks.showcase.common import Origin, tasks_of
from crosstune.errors import DataError
from crosstune.records import Dataset, TargetKind


def _read(name: str) -> tuple[Any, Any]:
    """Both official parts of a bundled data set, one after the other: never from the network."""
    try:
        import aeon
        from aeon.datasets import load_from_ts_file
    except ImportError:
        raise DataError(
            f"{name} is shipped with aeon, which is not installed", fix="pip install 'crosstune[floors]'"
        ) from None
    from pathlib import Path

    folder = Path(str(aeon.__file__)).parent / "datasets" / "data" / name
    parts = []
    for part in ("TRAIN", "TEST"):
        file = folder / f"{name}_{part}.ts"
        if not file.exists():
            raise DataError(
                f"aeon {aeon.__version__} does not ship {name}", cause="later releases dropped some data sets",
                fix="pip install 'aeon==1.6'",
            )  # fmt: skip
        parts.append(load_from_ts_file(str(file)))
    rows: list[Any] = [row for x, _ in parts for row in x]
    return rows, np.concatenate([y for _, y in parts])


def _series(name: str, kind: TargetKind) -> Dataset:
    rows, y = _read(name)
    lengths = np.array([row.shape[-1] for row in rows], dtype=np.int64)
    x = np.zeros((len(rows), rows[0].shape[0], int(lengths.max())), dtype=np.float32)
    for i, row in enumerate(rows):
        x[i, :, : row.shape[-1]] = row
    ragged = None if (lengths == lengths[0]).all() else lengths
    if kind == "regression":
        return Dataset(X=x, y=np.asarray(y, np.float32)[:, None], kind=kind, lengths=ragged)
    names, codes = np.unique(y.astype(str), return_inverse=True)
    return Dataset(X=x, y=codes.astype(np.int64), kind=kind, classes=tuple(names.tolist()), lengths=ragged)


def _origin(name: str, archive: str, summary: str, kind: TargetKind = "classification") -> Origin:
    metric = "error" if kind == "classification" else "nrmse"
    return Origin(name, archive, summary, kind, "series", metric, partial(_series, archive, kind),
                  f"{archive} of the UCR, UEA or TSER archive, shipped with aeon 1.6")  # fmt: skip


ORIGINS = (
    _origin("gun-point", "GunPoint", "a hand that draws a gun or points, 150 samples"),
    _origin("italy-power", "ItalyPowerDemand", "power demand over a day, winter or summer, 24 samples"),
    _origin("arrow-head", "ArrowHead", "outlines of arrow heads of three kinds, 251 samples"),
    _origin("osu-leaf", "OSULeaf", "outlines of leaves of six species, 427 samples"),
    _origin("acsf1", "ACSF1", "power consumption of ten kinds of appliances, 1,460 samples"),
    _origin("basic-motions", "BasicMotions", "six channels of a wrist's movement, four activities"),
    _origin("japanese-vowels", "JapaneseVowels", "twelve channels of speech, nine speakers, 7 to 29 samples"),
    _origin("pickup-gesture", "PickupGestureWiimoteZ", "acceleration of ten gestures, ragged"),
    _origin("covid", "Covid3Month", "death rate from daily cases over three months", "regression"),
    _origin("cardano", "CardanoSentiment", "sentiment of news from two price series", "regression"),
)

TASK = tuple(task for origin in ORIGINS for task in tasks_of(origin))
