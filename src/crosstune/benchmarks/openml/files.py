"""Finding and reading the file of one set: ARFF as OpenML serves it, or CSV or Parquet of the same columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crosstune.benchmarks.openml.settings import Setting
from crosstune.data.arff import Arff, Attribute, read_arff
from crosstune.data.files import open_source
from crosstune.data.infer import class_name, is_missing
from crosstune.data.tabular import read_csv, read_parquet
from crosstune.errors import DataError

STAND_IN = "stand-in"  # the first word of the comment in generated files
_FEW_VALUES = 20  # text with no more values is never taken for an identifier
_ENDINGS = (".arff", ".csv", ".parquet")


@dataclass(frozen=True)
class Relation:
    """A set as its file holds it.

    features, columns: attributes that are features and their values, as in ``Arff`` (numbers with NaN, codes with -1).
    y: int64 (N,) codes into ``classes``, which all occur. groups: (N,) text, or None. notes: what was left out.
    """

    path: Path
    features: tuple[Attribute, ...]
    columns: tuple[np.ndarray, ...]
    y: np.ndarray
    classes: tuple[str, ...]
    target: str
    groups: np.ndarray | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)


def find(path: Path, setting: Setting) -> Path | None:
    """The set's file: ``path`` itself, or in the folder ``<id>`` or ``<name>`` with .arff, .csv or .parquet, or the
    name OpenML gives a download (``dataset_<id>_<name>.arff``)."""
    if path.is_file():
        return path if path.suffix.lower() in _ENDINGS and _named(path, setting) else None
    if not path.is_dir():
        return None
    inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _ENDINGS and _named(p, setting))
    return min(inside, key=lambda p: (_ENDINGS.index(p.suffix.lower()), p.name)) if inside else None


def _named(path: Path, setting: Setting) -> bool:
    stem = path.stem.lower()
    return stem in (str(setting.id), setting.name.lower()) or stem.startswith(f"dataset_{setting.id}_")


def read_relation(path: Path, setting: Setting) -> Relation:
    """The set in a file or folder. DataError when it is not there, is damaged, or has no target."""
    found = find(path, setting)
    if found is None:
        raise DataError(
            f"{path} holds no file of {setting.name} (OpenML {setting.id})",
            cause="the file is elsewhere, or has another name",
            fix=f"save the ARFF from {setting.address} as {setting.id}.arff, or make a stand-in with "
            f"`crosstune data generate {setting.task} -o {path}`",
        )
    return relation_of(read_arff(found) if found.suffix.lower() == ".arff" else _table(found), found, setting)


def _table(path: Path) -> Arff:
    """A CSV or Parquet file as a relation: text becomes nominal with its values in sorted order, but for text that has
    another value in most rows."""
    opened = open_source(str(path))
    columns, notes = read_csv(opened) if opened.format == "csv" else read_parquet(opened)
    attributes, values = [], []
    for name, column in columns.items():
        if column.dtype.kind in "biuf":
            attributes.append(Attribute(name, "numeric"))
            values.append(column.astype(np.float64))
            continue
        texts = [None if is_missing(v) else str(v) for v in column]
        attribute, codes = _nominal(name, texts)
        if len(attribute.values) > max(_FEW_VALUES, len(texts) / 2):
            attribute, codes = Attribute(name, "string"), np.array([*texts, None], dtype=object)[:-1]
        attributes.append(attribute)
        values.append(codes)
    return Arff(path.stem, tuple(attributes), tuple(values), notes)


def _nominal(name: str, texts: list[str | None]) -> tuple[Attribute, np.ndarray]:
    found = tuple(sorted({text for text in texts if text is not None}))
    position = {text: i for i, text in enumerate(found)}
    return Attribute(name, "nominal", found), np.array([-1 if t is None else position[t] for t in texts], np.int64)


def relation_of(arff: Arff, path: Path, setting: Setting) -> Relation:
    """Features, target and groups of a relation, by the names in the table."""
    lowered = [name.lower() for name in arff.names]
    notes = [comment for comment in arff.comments if comment.startswith(STAND_IN)]
    at = _target_position(arff, setting, notes, path)
    target, codes = _as_nominal(arff.attributes[at], arff.columns[at])
    kept = codes >= 0
    if not kept.any():
        raise DataError(f"{path}: the target {target.name!r} is missing in every row")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} rows without a target were left out")
    ignored = [name.lower() for name in setting.ignored]
    features, columns, dropped = [], [], []
    for i, (attribute, column) in enumerate(zip(arff.attributes, arff.columns)):
        if i == at or lowered[i] in ignored:
            continue
        if attribute.type == "string":
            dropped.append(attribute.name)
            continue
        features.append(attribute)
        columns.append(column[kept])
    if dropped:
        notes.append(f"text attributes are no features: {', '.join(dropped)}")
    if not features:
        raise DataError(f"{path} has no feature beside the target {target.name!r}")
    occurring = np.unique(codes[kept])
    return Relation(
        path=path,
        features=tuple(features),
        columns=tuple(columns),
        y=np.searchsorted(occurring, codes[kept]),
        classes=tuple(target.values[code] for code in occurring),
        target=target.name,
        groups=_groups(arff, setting, kept),
        notes=tuple(notes),
    )


def _target_position(arff: Arff, setting: Setting, notes: list[str], path: Path) -> int:
    """Where the target stands: by its name, else the last nominal attribute, which is said."""
    lowered = [name.lower() for name in arff.names]
    if setting.target.lower() in lowered:
        return lowered.index(setting.target.lower())
    nominal = [i for i, attribute in enumerate(arff.attributes) if attribute.type == "nominal"]
    if not nominal:
        raise DataError(
            f"{path} has no attribute {setting.target!r} and no nominal one that could be the target",
            cause="another version of the set, or a table without its target",
            fix=f"fetch the file from {setting.address}",
        )
    notes.append(f"no attribute {setting.target!r}: the last nominal one, {arff.names[nominal[-1]]!r}, is the target")
    return nominal[-1]


def _as_nominal(attribute: Attribute, column: np.ndarray) -> tuple[Attribute, np.ndarray]:
    if attribute.type == "nominal":
        return attribute, column
    if attribute.type == "string":
        return _nominal(attribute.name, [None if v is None else str(v) for v in column])
    found = np.unique(column[~np.isnan(column)])
    codes = np.where(np.isnan(column), -1, np.searchsorted(found, column)).astype(np.int64)
    return replace(attribute, type="nominal", values=tuple(class_name(v) for v in found)), codes


def _groups(arff: Arff, setting: Setting, kept: np.ndarray) -> np.ndarray | None:
    """What stands before the last underscore of the naming attribute: "309" of the measurement "309_7"."""
    if setting.groups is None or setting.groups.lower() not in [name.lower() for name in arff.names]:
        return None
    at = arff.index(setting.groups)
    attribute, codes = _as_nominal(arff.attributes[at], arff.columns[at])
    names = np.array([value.rpartition("_")[0] or value for value in attribute.values] + ["unknown"])
    return names[codes][kept]
