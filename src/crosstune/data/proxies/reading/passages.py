"""Text files and columns of text to passages."""

from __future__ import annotations

from pathlib import Path

from crosstune.data.proxies.reading.refusal import BadFile

ENDINGS = (".txt",)
MOST_CHARACTERS = 5000  # a body reads a few dozen tokens of each passage


def read_passage(path: Path) -> str:
    """The beginning of a UTF-8 text file. Raises BadFile for empty, binary and otherwise encoded files."""
    with path.open("rb") as file:
        raw = file.read(4 * MOST_CHARACTERS + 4)
    if b"\0" in raw:
        raise BadFile("binary content, not text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        if problem.start < len(raw) - 4:  # a character cut at the end of what was read is no error
            raise BadFile(f"not UTF-8 (byte {problem.start})") from None
        text = raw[: problem.start].decode("utf-8-sig")
    text = text.strip()[:MOST_CHARACTERS]
    if not text:
        raise BadFile("no text in it")
    return text
