"""A .csv, .jsonl or .parquet with a column of text and a column of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.data.files import missing_key, open_source
from crosstune.data.proxies.contract import TextProxy, Wanted, balanced, make_text_proxy
from crosstune.data.proxies.reading.labels import coded
from crosstune.data.proxies.reading.passages import MOST_CHARACTERS
from crosstune.data.tabular import read_csv, read_parquet
from crosstune.errors import DataError

LINES = (".jsonl", ".ndjson")
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".pq", *LINES)
USUAL_TEXT = ("text", "sentence", "passage", "content", "document", "review", "title", "question")
USUAL_LABEL = ("label", "labels", "class", "category", "topic", "target", "y", "intent")


def load(path: Path, chosen: str | None, wanted: Wanted) -> TextProxy:
    """The proxy in a table. chosen: "TEXT,LABEL" names the columns, None takes those of the usual names.

    At most ``wanted.rows`` rows, classes taking turns. Raises DataError for files that cannot be read, columns that
    are not there, and rows without text or label.
    """
    lines = path.name.lower().endswith(LINES)
    columns = _json_lines(path) if lines else _columns(path)
    text, label = _names(path, chosen, list(columns))
    labels, classes = coded(columns[label], f"{path}: column {label!r}")
    texts = columns[text]
    bad = [row for row, value in enumerate(texts) if not isinstance(value, str) or not value.strip()]
    if bad:
        value = texts[bad[0]]
        what = "is empty" if value is None or (isinstance(value, str) and not value.strip()) else f"holds {value!r}"
        raise DataError(
            f"{path}: column {text!r} {what} in row {bad[0]} ({len(bad)} of {len(texts)} rows without text)",
            cause="missing texts, or another column than that of the text",
            fix=f"leave such rows out, or name the columns: --proxy {path}::TEXT,LABEL",
        )
    rows = balanced(labels, wanted.rows)
    notes = [f"column {text!r} was taken as the text and {label!r} as the label"]
    if len(rows) < len(texts):
        notes.append(f"{len(rows):,} of {len(texts):,} rows are used, classes taking turns")
    return make_text_proxy([texts[i].strip()[:MOST_CHARACTERS] for i in rows], labels[rows], classes, notes)


def _columns(path: Path) -> dict[str, np.ndarray]:
    opened = open_source(str(path))
    return (read_csv(opened) if opened.format == "csv" else read_parquet(opened))[0]


def _json_lines(path: Path) -> dict[str, np.ndarray]:
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_object(path, number, line))
    except UnicodeDecodeError as problem:
        raise DataError(
            f"{path} is not UTF-8 text ({problem.reason} at byte {problem.start})", fix="convert it"
        ) from None
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}", fix="check its permissions") from None
    if not rows:
        raise DataError(f"{path} has no lines", cause="an interrupted download or copy", fix="fetch the file again")
    names = dict.fromkeys(key for row in rows for key in row)
    out = {}
    for name in names:
        out[name] = np.empty(len(rows), dtype=object)
        out[name][:] = [row.get(name) for row in rows]
    return out


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as problem:
        said = str(problem).splitlines()[0]
        raise DataError(
            f"{path}: line {number} is no JSON ({said})",
            cause="a truncated file, or one JSON document over several lines",
            fix='give one object per line, like {"text": "...", "label": "..."}',
        ) from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: line {number} holds {type(value).__name__}, not an object",
                        fix='give one object per line, like {"text": "...", "label": "..."}')  # fmt: skip
    return value


def _names(path: Path, chosen: str | None, present: list[str]) -> tuple[str, str]:
    if chosen is not None:
        parts = [part.strip() for part in chosen.split(",")]
        if len(parts) != 2:
            raise DataError(f"{path}::{chosen} names {len(parts)} columns", fix=f"--proxy {path}::TEXT,LABEL")
        for part in parts:
            if part not in present:
                missing_key("column", part, present, path, f"--proxy {path}::TEXT,LABEL")
        return parts[0], parts[1]
    found = []
    for what, usual in (("text", USUAL_TEXT), ("label", USUAL_LABEL)):
        lower = {name.lower(): name for name in reversed(present)}
        name = next((lower[u] for u in usual if u in lower), None)
        if name is None:
            raise DataError(
                f"{path} has no column of {what} by one of the usual names ({', '.join(usual)})",
                fix=f"name them: --proxy {path}::TEXT,LABEL; the columns are {', '.join(present[:12])}",
            )
        found.append(name)
    return found[0], found[1]
