"""The table of the 42 sets: hyper-parameters as published, and what their files hold.

Names, targets, sizes and class counts are common knowledge about these sets, not read from their files: the loader
takes sizes and classes from the file and uses these to make stand-ins and to say where a file differs.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class Setting:
    """One row of ``settings.csv``.

    target: the default target attribute. numeric, categorical: number of features. class_rows: rows of each class, in
    the order of the header. missing: share of missing values among the features. ignored: attributes that are not
    features (identifiers, other names of the target). groups: the attribute that tells which rows belong together.
    optimiser to samples: hyper-parameters; None where there is none (clip: off).
    """

    id: int
    name: str
    optimiser: str
    rate: float
    weight_decay: float
    momentum: float | None
    batch: int
    clip: float | None
    epochs: int
    target_seq_len: int | None
    dropout: float
    warmup: int
    decay: int
    samples: int
    target: str
    numeric: int
    categorical: int
    class_rows: tuple[int, ...]
    missing: float
    ignored: tuple[str, ...]
    groups: str | None

    @property
    def task(self) -> str:
        return f"openml/{self.name}"

    @property
    def rows(self) -> int:
        return sum(self.class_rows)

    @property
    def address(self) -> str:
        return f"https://www.openml.org/d/{self.id}"


@lru_cache(maxsize=1)
def settings() -> tuple[Setting, ...]:
    """All sets, by id."""
    text = files("crosstune.benchmarks.openml").joinpath("settings.csv").read_text(encoding="utf-8")
    return tuple(_setting(row) for row in csv.DictReader(text.splitlines()))


def _setting(row: dict[str, str]) -> Setting:
    return Setting(
        id=int(row["id"]),
        name=row["name"],
        optimiser=row["optimiser"],
        rate=float(row["rate"]),
        weight_decay=float(row["weight_decay"]),
        momentum=float(row["momentum"]) if row["momentum"] else None,
        batch=int(row["batch"]),
        clip=float(row["clip"]) if row["clip"] else None,
        epochs=int(row["epochs"]),
        target_seq_len=int(row["target_seq_len"]) if row["target_seq_len"] else None,
        dropout=float(row["dropout"]),
        warmup=int(row["warmup"]),
        decay=int(row["decay"]),
        samples=int(row["samples"]),
        target=row["target"],
        numeric=int(row["numeric"]),
        categorical=int(row["categorical"]),
        class_rows=tuple(int(n) for n in row["class_rows"].split()),
        missing=float(row["missing"]),
        ignored=tuple(row["ignored"].split(";")) if row["ignored"] else (),
        groups=row["groups"] or None,
    )
