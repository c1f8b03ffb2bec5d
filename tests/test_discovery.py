"""Discovery walks a package: one file is one plug-in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crosstune.discovery import discover, pick, suggest
from crosstune.errors import UsageError

ITEM = "from types import SimpleNamespace as N\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes a package of the given files and gives its name."""
    made: list[str] = []

    def write(**files: str) -> str:
        name = f"plugins_{len(made)}_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / name
        folder.mkdir()
        for file, text in {"__init__": "", **files}.items():
            (folder / f"{file}.py").write_text(text)
        made.append(name)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for module in [m for m in sys.modules if m.split(".")[0] in made]:
        del sys.modules[module]


def test_every_file_that_defines_the_attribute_is_found(package: Callable[..., str]) -> None:
    name = package(
        b=ITEM + "THING = N(name='beta')",
        a=ITEM + "THING = (N(name='alpha'), N(name='second'))",
        helpers="x = 1",
    )
    assert list(discover(name, "THING")) == ["alpha", "second", "beta"]
    assert discover(name, "OTHER") == {}


def test_packages_within_the_package_count_too(package: Callable[..., str], tmp_path: Path) -> None:
    name = package()
    (tmp_path / name / "inner").mkdir()
    (tmp_path / name / "inner" / "__init__.py").write_text(ITEM + "THING = N(name='inner')")
    assert list(discover(name, "THING")) == ["inner"]


def test_two_of_one_name_are_an_error_of_ours(package: Callable[..., str]) -> None:
    name = package(a=ITEM + "THING = N(name='same')", b=ITEM + "THING = N(name='same')")
    with pytest.raises(RuntimeError, match="'same'"):
        discover(name, "THING")


def test_a_broken_file_is_not_swallowed(package: Callable[..., str]) -> None:
    name = package(a="raise ImportError('missing dependency')")
    with pytest.raises(ImportError, match="missing dependency"):
        discover(name, "THING")


def test_pick_suggests(package: Callable[..., str]) -> None:
    name = package(a=ITEM + "THING = (N(name='logistic'), N(name='ridge'))")
    assert pick(name, "THING", "ridge", "floor").name == "ridge"
    with pytest.raises(UsageError, match="unknown floor 'logistik'") as caught:
        pick(name, "THING", "logistik", "floor")
    assert "did you mean 'logistic'? known: logistic, ridge" in str(caught.value)


def test_no_suggestion_where_nothing_is_near() -> None:
    assert suggest("zzzz", ["alpha", "beta"]) == "known: alpha, beta"


@pytest.mark.parametrize(
    ("room", "attribute"),
    [("methods", "METHOD"), ("metrics", "METRIC"), ("floors", "FLOOR"), ("backbones", "FAMILY"),
     ("backbones", "BACKBONE"), ("data.proxies", "PROXY")],
)  # fmt: skip
def test_every_room_of_plugins_has_some(room: str, attribute: str) -> None:
    assert discover(f"crosstune.{room}", attribute)
