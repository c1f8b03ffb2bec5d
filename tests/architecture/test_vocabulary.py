"""The project speaks of itself alone: no paths of the machine it was written on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = {".py", ".md", ".rst", ".toml", ".txt", ".j2", ".css", ".html", ".json", ".csv", ".yaml", ".yml", ".ipynb"}
PLACES = ("src", "tests", "docs", "examples", "bench", "results")
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "constraints.txt")
# written in pieces, so that this file passes its own test
FORBIDDEN = {
    "a path of one machine": re.compile("/" + r"(work|root|home/\w+|Users/\w+)" + "/"),
    "a number of a tracker": re.compile(r"\bissue" + r"\s+#?\d", re.IGNORECASE),
    "an address of a private index": re.compile(r"(extra-)?index-url" + r"[= ]+https?://(?!download\.pytorch|pypi)"),
}


def texts() -> Iterator[Path]:
    for place in PLACES:
        yield from (p for p in sorted((ROOT / place).rglob("*")) if p.suffix in TEXT and "__pycache__" not in p.parts)
    yield from (ROOT / name for name in FILES if (ROOT / name).exists())


def offences(text: str) -> list[str]:
    return [f"{what}: {m.group()!r}" for what, pattern in FORBIDDEN.items() for m in pattern.finditer(text)]


def test_no_file_names_the_machine_or_the_tracker() -> None:
    found = {str(path.relative_to(ROOT)): offences(path.read_text(errors="replace")) for path in texts()}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize("text", ["see /" + "work/x", "/" + "root/.cache", "/" + "home/ada/x", "closes issue" + " #12"])
def test_the_check_finds_what_is_forbidden(text: str) -> None:
    assert offences(text)


@pytest.mark.parametrize("text", ["the body's work / rest", "network/data", "an issue with 3 columns", "~/.cache/x"])
def test_the_check_lets_pass_what_is_right(text: str) -> None:
    assert not offences(text)
