"""Files for sets that are not at hand: the real rows where they need no download, else a table of the same shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from crosstune.benchmarks.openml.files import STAND_IN
from crosstune.benchmarks.openml.real import REAL
from crosstune.benchmarks.openml.settings import Setting
from crosstune.data.arff import Arff, Attribute, write_arff
from crosstune.errors import UsageError
from crosstune.seeding import derive_seed

FEWEST_PER_CLASS = 10
_DISTANCE = 2.0  # between class means in units of the spread within: two classes then have an AUROC of 0.92
_MEASUREMENTS = 15  # of one mouse


def generate(
    setting: Setting,
    out: Path,
    *,
    n: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:
    """Writes ``<id>.arff`` into the folder ``out``. n: rows, at least ten for each class; None for as many as the set
    has. Real rows do not depend on the seed. UsageError for a resolution, which tables do not have."""
    if resolution is not None:
        raise UsageError(f"{setting.task} is a table: it has no resolution", fix="leave out --resolution")
    if n is not None and n < 1:
        raise UsageError(f"n = {n} rows", fix="ask for at least one row")
    rows = setting.rows if n is None else max(n, FEWEST_PER_CLASS * len(setting.class_rows))
    arff = _real(setting, rows) if setting.id in REAL else _synthetic(setting, rows, seed)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{setting.id}.arff"
    write_arff(path, arff)
    if on_share is not None:
        on_share(1.0)
    return (path,)


def _real(setting: Setting, rows: int) -> Arff:
    real = REAL[setting.id]
    attributes, columns = real.build()
    found = len(columns[0])
    whole = real.whole
    said = f"OpenML {setting.id}, {setting.name}: {real.origin}"
    if rows < found:
        target = columns[[a.name for a in attributes].index(setting.target)]
        kept = _spread_over_classes(target, rows)
        columns = tuple(column[kept] for column in columns)
        said, whole = f"{said}; {rows} rows of it", False
    comment = said if whole else f"{STAND_IN}: {said}"
    return Arff(setting.name, attributes, columns, (comment,))


def _spread_over_classes(target: np.ndarray, rows: int) -> np.ndarray:
    """Row numbers, in order: evenly spaced within each class, in the proportions of the classes."""
    counts = shares(np.bincount(target).tolist(), rows)
    chosen = [
        np.flatnonzero(target == code)[np.linspace(0, (target == code).sum() - 1, count).astype(int)]
        for code, count in enumerate(counts)
    ]
    return np.sort(np.concatenate(chosen))


def shares(sizes: list[int], rows: int) -> list[int]:
    """How many of ``rows`` each class gets: in proportion, at least three, the rest to the largest remainders."""
    quota = np.array(sizes) * rows / sum(sizes)
    counts = np.maximum(3, np.floor(quota)).astype(int)
    for code in np.argsort(np.floor(quota) - quota, kind="stable"):
        if counts.sum() >= rows:
            break
        counts[code] += 1
    while counts.sum() > rows:
        counts[counts.argmax()] -= 1
    return counts.tolist()


def _synthetic(setting: Setting, rows: int, seed: int) -> Arff:
    """Gaussian classes at a distance of two spreads; categories are their ranges under shuffled names."""
    rng = np.random.default_rng(derive_seed(seed, "openml", setting.id))
    counts = shares(list(setting.class_rows), rows)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    width = setting.numeric + setting.categorical
    means = rng.normal(size=(len(counts), width))
    means *= _DISTANCE / np.sqrt(2 * width)  # two means are then apart by the distance, on average
    latent = means[y] + rng.normal(size=(rows, width))
    attributes, columns = [], []
    if setting.groups is not None:
        names, number = _groups(y)
        latent += 0.5 * rng.normal(size=(len(names), width))[number // _MEASUREMENTS]
        labels = tuple(f"{names[i // _MEASUREMENTS]}_{i % _MEASUREMENTS + 1}" for i in sorted(set(number)))
        position = {value: at for at, value in enumerate(sorted(set(number)))}
        attributes.append(Attribute(setting.groups, "nominal", labels))
        columns.append(np.array([position[i] for i in number], np.int64))
    for i in range(width):
        # every third column: a table of numbers loses its columns with a missing value under "shipped"
        missing = (rng.random(rows) < 3 * setting.missing) & (i % 3 == 0)
        if i < setting.numeric:
            attributes.append(Attribute(f"V{i + 1}", "numeric"))
            values = rng.normal() * 10 + latent[:, i] * 10 ** rng.uniform(-2, 3)
            columns.append(np.where(missing, np.nan, [float(f"{value:.5g}") for value in values]))
        else:
            attribute, codes = _category(f"C{i - setting.numeric + 1}", latent[:, i], rng)
            attributes.append(attribute)
            columns.append(np.where(missing, -1, codes))
    values = tuple(f"class {code}" for code in range(len(counts)))
    attributes.append(Attribute(setting.target, "nominal", values))
    columns.append(y)
    comment = f"{STAND_IN}: generated with seed {seed}, none of it is data of OpenML {setting.id} ({setting.name})"
    return Arff(setting.name, tuple(attributes), tuple(columns), (comment,))


def _category(name: str, latent: np.ndarray, rng: np.random.Generator) -> tuple[Attribute, np.ndarray]:
    levels = int(rng.integers(2, 7))
    edges = np.quantile(latent, np.arange(1, levels) / levels)
    codes = rng.permutation(levels)[np.searchsorted(edges, latent)]
    return Attribute(name, "nominal", tuple(f"it's level {i}" if i == 0 else f"v{i}" for i in range(levels))), codes


def _groups(y: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of animals, and for each row the number of its measurement: animal * 15 + position; an animal has one
    class."""
    number = np.zeros(len(y), np.int64)
    animals = 0
    for code in np.unique(y):
        rows = np.flatnonzero(y == code)
        number[rows] = animals * _MEASUREMENTS + np.arange(len(rows))
        animals += -(-len(rows) // _MEASUREMENTS)
    return [str(300 + animal) for animal in range(animals)], number
