"""Attribute-relation files (ARFF): a reader for what is found in practice, and a writer.

The format: a header of ``@attribute NAME TYPE`` lines and, after ``@data``, one row per line, dense (values between
commas) or sparse (``{index value, index value}``, what is left out being 0, or the first value of a nominal attribute).
Quotes are single or double with backslash escapes, ``?`` without quotes is missing, ``%`` begins a comment line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from crosstune.data.files import Opened
from crosstune.discovery import suggest
from crosstune.errors import DataError

AttributeType = Literal["numeric", "nominal", "string"]
_NUMERIC = ("numeric", "real", "integer", "int", "float", "double")
_PLAIN = re.compile(r"[\w.+\-/:#&()=<>!*;]+")  # values that need no quotes when written
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True)
class Attribute:
    """values: of a nominal attribute, in the order of the header; empty for the others."""

    name: str
    type: AttributeType
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arff:
    """columns: one array (N,) per attribute: float64 with NaN (numeric), int64 codes into ``values`` with -1 (nominal),
    or objects with None (string, date). comments: the comment lines before ``@data``, without their sign."""

    relation: str
    attributes: tuple[Attribute, ...]
    columns: tuple[np.ndarray, ...]
    comments: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self.attributes)

    def index(self, name: str) -> int:
        """Position of an attribute, upper and lower case alike; DataError with a suggestion for an unknown name."""
        lowered = [known.lower() for known in self.names]
        if name.lower() not in lowered:
            raise DataError(f"relation {self.relation!r} has no attribute {name!r}", fix=suggest(name, self.names))
        return lowered.index(name.lower())


class _Malformed(Exception):
    """What is wrong with a line; the reader adds the place."""


def read_arff(path: Path) -> Arff:
    """The relation in a file. DataError with the line's number for what does not follow the format."""
    lines = _lines(path)
    at = _Position()
    try:
        relation, attributes, comments = _header(lines, at)
        rows = []
        first = at.line + 1
        for at.line, raw in enumerate(lines[first:], start=first):
            line = raw.strip()
            if line and not line.startswith("%"):
                rows.append(_row(line, attributes))
    except _Malformed as problem:
        raise DataError(
            f"{path}, line {at.line + 1}: {problem}",
            cause="a damaged file, or one that is not ARFF",
            fix="fetch the file again, and compare its size with the original",
        ) from None
    if not rows:
        raise DataError(f"{path} has a header and no rows", cause="a truncated file", fix="fetch the file again")
    columns = tuple(_array(attribute, [row[i] for row in rows]) for i, attribute in enumerate(attributes))
    return Arff(relation, attributes, columns, comments)


class _Position:
    line = 0


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", fix="check the path and its permissions") from error
    if not raw:
        raise DataError(f"{path} is empty (0 bytes)", cause="an interrupted download", fix="fetch the file again")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if text.lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
        raise DataError(
            f"{path} is a web page, not data",
            cause="a download that returned an error or sign-in page",
            fix="open the address in a browser, and download the raw file",
        )
    return re.split(r"\r\n|\r|\n", text)


def _header(lines: Sequence[str], at: _Position) -> tuple[str, tuple[Attribute, ...], tuple[str, ...]]:
    """Relation, attributes and comments; ``at`` is left on the line of ``@data``."""
    relation = ""
    attributes: list[Attribute] = []
    comments = []
    for at.line, raw in enumerate(lines):
        line = raw.strip()
        if line.startswith("%"):
            comments.append(line.lstrip("%").strip())
            continue
        word, rest = re.match(r"(\S*)\s*(.*)", line).groups()  # type: ignore[union-attr]
        match word.lower():
            case "":
                continue
            case "@relation":
                relation = _unquote(rest)
            case "@attribute":
                attributes.append(_attribute(rest))
            case "@data":
                _check_attributes(attributes)
                return relation, tuple(attributes), tuple(comments)
            case _:
                raise _Malformed(f"{line[:40]!r} is neither @relation, @attribute, @data nor a comment")
    raise _Malformed("the file ends before @data")


def _check_attributes(attributes: list[Attribute]) -> None:
    if not attributes:
        raise _Malformed("@data comes before any @attribute")
    seen: set[str] = set()
    for attribute in attributes:
        if attribute.name.lower() in seen:
            raise _Malformed(f"two attributes are named {attribute.name!r}")
        seen.add(attribute.name.lower())


def _attribute(text: str) -> Attribute:
    """From what follows ``@attribute``: a name, perhaps quoted, then a type or a list of values in braces."""
    quoted = re.match(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*(.*)""", text)
    plain = re.match(r"([^\s{]+)\s*(.*)", text)
    found = quoted or plain
    if not found:
        raise _Malformed("@attribute without a name")
    name, kind = _unquote(found[1]), found[2].strip()
    if kind.startswith("{"):
        end = kind.rfind("}")
        if end < 0:
            raise _Malformed(f"attribute {name!r}: the list of values has no closing brace")
        values = tuple("?" if value is None else value for value in _split(kind[1:end]))
        return Attribute(name, "nominal", tuple(dict.fromkeys(values)))
    word = kind.split()[0].lower() if kind else ""
    if word in _NUMERIC:
        return Attribute(name, "numeric")
    if word in ("string", "date"):
        return Attribute(name, "string")
    raise _Malformed(f"attribute {name!r} has type {kind!r}, which is not numeric, a list of values, string or date")


def _row(line: str, attributes: tuple[Attribute, ...]) -> list[float | int | str | None]:
    if line.startswith("{") and line.endswith("}"):
        return _sparse_row(line[1:-1], attributes)
    values = _split(line)
    if len(values) != len(attributes):
        raise _Malformed(f"{len(values)} values in a row for {len(attributes)} attributes")
    return [_value(value, attribute) for value, attribute in zip(values, attributes)]


def _sparse_row(text: str, attributes: tuple[Attribute, ...]) -> list[float | int | str | None]:
    """What a sparse row leaves out is 0, the first value, or the empty string."""
    row: list[float | int | str | None] = ["" if a.type == "string" else 0 for a in attributes]
    for item in _pieces(text) if text.strip() else []:
        index, _, value = item.strip().partition(" ")
        if not index.isdigit() or int(index) >= len(attributes):
            raise _Malformed(f"{item.strip()!r} does not begin with a number from 0 to {len(attributes) - 1}")
        (token,) = _split(value.strip())
        row[int(index)] = _value(token, attributes[int(index)])
    return row


def _value(text: str | None, attribute: Attribute) -> float | int | str | None:
    """A number, a code or a text; NaN, -1 or None where it is missing."""
    if attribute.type == "string":
        return text
    if attribute.type == "nominal":
        if text is None:
            return -1
        try:
            return attribute.values.index(text)
        except ValueError:
            shown = ", ".join(attribute.values[:8])
            raise _Malformed(f"{text!r} is not a value of attribute {attribute.name!r} ({shown})") from None
    if text is None or text == "":
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise _Malformed(f"{text!r} is not a number (attribute {attribute.name!r})") from None


def _array(attribute: Attribute, values: list[float | int | str | None]) -> np.ndarray:
    dtype = {"numeric": np.float64, "nominal": np.int64, "string": object}[attribute.type]
    out = np.empty(len(values), dtype)
    out[:] = values
    return out


def _pieces(text: str) -> list[str]:
    """Text cut at the commas that stand outside quotes. Some files separate by tabs instead."""
    if "'" not in text and '"' not in text and "\\" not in text:
        return text.split("," if "," in text or "\t" not in text else "\t")
    pieces, start, quote, escaped = [], 0, "", False
    for i, sign in enumerate(text):
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and not text[start:i].strip():
            quote = sign  # a quote inside a bare word is part of it
        elif sign == ",":
            pieces.append(text[start:i])
            start = i + 1
    if quote:
        raise _Malformed(f"a quote {quote} is not closed")
    return [*pieces, text[start:]]


def _split(text: str) -> list[str | None]:
    """The values of a row or of a list of values; None for a ``?`` without quotes."""
    return [None if piece.strip() == "?" else _unquote(piece) for piece in _pieces(text)]


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text) if "\\" in text else text


def read_table(opened: Opened) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns of an ARFF file as those of any table, numbers or text with None, and notes (none)."""
    arff = read_arff(opened.path)
    return {a.name: _plain(a, column) for a, column in zip(arff.attributes, arff.columns)}, ()


def _plain(attribute: Attribute, column: np.ndarray) -> np.ndarray:
    if attribute.type != "nominal":
        return column
    return np.array([*attribute.values, None], dtype=object)[column]


def write_arff(path: Path, arff: Arff) -> None:
    """Writes the relation as dense rows; what ``read_arff`` gives back is equal. Numbers in their shortest exact form.

    DataError for text that one line cannot hold.
    """
    lines = [f"% {comment}".rstrip() for comment in arff.comments]
    lines.append(f"@relation {_quote(arff.relation)}")
    lines.append("")
    for attribute in arff.attributes:
        values = ",".join(_quote(value) for value in attribute.values)
        kind = {"numeric": "numeric", "nominal": f"{{{values}}}", "string": "string"}[attribute.type]
        lines.append(f"@attribute {_quote(attribute.name)} {kind}")
    lines += ["", "@data"]
    texts = [_texts(attribute, column) for attribute, column in zip(arff.attributes, arff.columns)]
    lines += [",".join(row) for row in zip(*texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _texts(attribute: Attribute, column: np.ndarray) -> list[str]:
    if attribute.type == "nominal":
        names = [*(_quote(value) for value in attribute.values), "?"]
        return [names[code] for code in column]
    if attribute.type == "string":
        return ["?" if value is None else _quote(value) for value in column]
    return [
        "?" if np.isnan(v) else str(int(v)) if v.is_integer() and abs(v) < 2**53 else repr(float(v)) for v in column
    ]


def _quote(text: str) -> str:
    if "\0" in text or "\x85" in text:
        raise DataError(f"the text {text[:40]!r} holds a control sign that ARFF cannot express")
    if _PLAIN.fullmatch(text):
        return text
    for sign, escape in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(sign, escape)
    return f"'{text}'"
