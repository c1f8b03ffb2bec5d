"""records.jsonl: one line per score, appended when its job is done, never changed.

Every line says how many lines its job has: a job counts as recorded when all of them are there. A line that was torn
by a kill is closed off before the next is written, and ignored by every reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crosstune.runs.files import finite, plain

SCHEMA = 1
NAME = "records.jsonl"


class Records:
    """The records of one sweep folder. One process writes; anybody reads."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / NAME

    def lines(self) -> list[dict[str, Any]]:
        """Every readable line, oldest first."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("schema") == SCHEMA:
                found.append(entry)
        return found

    def states(self) -> dict[str, str]:
        """Job hash -> status of its latest whole record."""
        seen: dict[tuple[str, Any], set[int]] = {}
        states: dict[str, str] = {}
        for entry in self.lines():
            job, batch = str(entry["job"]), (str(entry["job"]), entry["time"])
            seen.setdefault(batch, set()).add(int(entry["line"]))
            if len(seen[batch]) == int(entry["lines"]):
                states[job] = str(entry["status"])
        return states

    def append(self, entries: Iterable[dict[str, Any]], *, time: str) -> None:
        """Add the lines of one job, all in one write, flushed to disk. time: when, the same on every line."""
        entries = list(entries)
        whole = [
            {"schema": SCHEMA, **entry, "time": time, "line": i, "lines": len(entries)}
            for i, entry in enumerate(entries)
        ]
        text = "".join(json.dumps(finite(entry), default=plain, allow_nan=False) + "\n" for entry in whole)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as handle:
            torn = False
            if handle.tell():
                with open(self.path, "rb") as reader:
                    reader.seek(-1, os.SEEK_END)
                    torn = reader.read(1) != b"\n"
            handle.write((b"\n" if torn else b"") + text.encode())
            handle.flush()
            os.fsync(handle.fileno())
