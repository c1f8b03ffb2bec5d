"""Arrows between rooms go down only. The test reads every import, those inside functions included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "crosstune"

FLOORS = [
    {"errors", "records", "seeding", "discovery"},
    {"ot", "information", "nn", "metrics"},
    {"data", "backbones", "bounds"},
    {"assembly", "stages"},
    {"methods", "floors"},
    {"benchmarks"},  # tasks judge themselves by floors
    {"runs"},
    {"experiment", "pretraining"},
    {"report"},
    {"estimators", "cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# single modules that serve their own floor: not a wall between two rooms
STEPS = {("discovery", "errors"), ("stages", "assembly")}
NOT_STAGES = {
    "state", "monitor", "closed_form", "closed_form_fields", "fit_config", "trainables", "adapters", "selection",
    "stepping", "machine", "precision", "candidates", "bilevel",
}  # fmt: skip
# floors that are networks train in a child process: they may import torch inside functions. Finding and listing floors
# must not load it, which the fresh interpreters at the end of this file and in the tests of floors prove
TORCH_LATE = {"floors"}
WITHOUT_TORCH = {"floors", "metrics", "data", "report", "errors", "records", "seeding", "discovery"}
REPORT_NEVER = {"methods", "stages", "backbones", "nn", "data", "experiment", "runs"}
HEAVY = ("torch", "transformers")
PACKAGE_NAME = re.compile(r"crosstune(\.[A-Za-z_]\w*)+")


def imported(text: str, module: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a source text imports: statements anywhere, relative ones resolved, and
    package names given as strings, which is how plug-ins are looked up."""
    package = module.split(".")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: -node.level], *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and PACKAGE_NAME.fullmatch(node.value):
            yield node.lineno, node.value


def inside_functions(text: str) -> set[int]:
    """Line numbers of the bodies of functions."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [(node.lineno, node.end_lineno) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return {line for first, last in bodies for line in range(first + 1, (last or first) + 1)}


def violations(text: str, module: str) -> list[str]:
    """What is wrong with the imports of ``module`` (dotted, without ``crosstune.``), in words."""
    here = module.split(".")
    room = here[0]
    if room not in FLOOR:
        return [f"{module}: room {room!r} is on no floor"]
    found = []
    late = inside_functions(text) if room in TORCH_LATE else set()
    for line, name in imported(text, f"crosstune.{module}"):
        where = f"{module}:{line} imports {name}"
        parts = name.split(".")
        if parts[0] in HEAVY and room in WITHOUT_TORCH and not (parts[0] == "torch" and line in late):
            found.append(f"{where}: {room} works without {parts[0]}")
        if parts[0] != "crosstune" or len(parts) < 2 or parts[1].startswith("__"):
            continue
        # the package's own names (crosstune.fit and its like) live on the top floor
        other = parts[1] if parts[1] in FLOOR else "estimators"
        if other != room and (room, other) not in STEPS:
            if FLOOR[other] > FLOOR[room]:
                found.append(f"{where}: an arrow up, from floor {FLOOR[room]} to {FLOOR[other]}")
            elif FLOOR[other] == FLOOR[room]:
                found.append(f"{where}: an arrow sideways on floor {FLOOR[room]}")
        if room == "report" and other in REPORT_NEVER:
            found.append(f"{where}: reports read run folders only")
        within = room == other == "stages" and len(here) > 1 and len(parts) > 2
        if within and here[1] not in NOT_STAGES and parts[2] not in {*NOT_STAGES, here[1]}:
            found.append(f"{where}: a stage imports a stage")
    return found


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts != ("__init__",):
            found[".".join(parts)] = path
    return found


@pytest.mark.parametrize("module", list(modules()))
def test_arrows_go_down(module: str) -> None:
    assert violations(modules()[module].read_text(), module) == []


def test_every_room_of_the_map_is_found_or_to_come() -> None:
    rooms = {name.split(".")[0] for name in modules()}
    assert rooms <= set(FLOOR)
    assert {"nn", "backbones", "stages", "methods", "experiment", "report", "cli"} <= rooms


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        ("nn.model", "from crosstune.stages import fit", "an arrow up"),
        ("nn.model", "def f():\n    import crosstune.cli", "nn.model:2 imports crosstune.cli: an arrow up"),
        ("nn.model", "from crosstune import cli", "an arrow up"),
        ("nn.model", "from crosstune.ot import exact", "sideways on floor 1"),
        ("nn.model", "from ..stages import fit", "an arrow up"),
        ("nn.model", "from crosstune import CrossModalClassifier", "an arrow up"),
        ("runs.folder", "pick('crosstune.experiment', 'X')", "an arrow up"),
        ("floors.linear", "from crosstune.methods import methods", "sideways on floor 4"),
        ("estimators", "from crosstune.cli import main", "sideways on floor 9"),
        ("assembly", "from crosstune.stages.state import State", "sideways on floor 3"),
        ("stages.fit", "from crosstune.stages.align import token_means", "a stage imports a stage"),
        ("stages.fit", "from crosstune.stages import align", "a stage imports a stage"),
        ("stages.fit", "from . import align", "a stage imports a stage"),
        ("stages.fit", "if True:\n    from .align import run", "a stage imports a stage"),
        ("report.page", "import torch.nn", "works without torch"),
        ("report.page", "from crosstune.runs.folder import RunFolder", "reports read run folders only"),
        ("data.readers", "def f():\n    from transformers import AutoTokenizer", "works without transformers"),
        ("metrics.base", "import torch", "works without torch"),
        ("metrics.base", "def f():\n    import torch", "works without torch"),
        ("floors.fno", "import torch", "works without torch"),
        ("floors.fno", "class A:\n    from torch import nn", "works without torch"),
        ("floors.fno", "def f():\n    import transformers", "works without transformers"),
        ("attic.old", "x = 1", "on no floor"),
    ],
)
def test_the_check_finds_what_is_wrong(module: str, text: str, words: str) -> None:
    assert any(words in found for found in violations(text, module)), violations(text, module)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("experiment.source", "from crosstune.stages.source_head import mean_hidden"),
        ("stages.fit", "from crosstune.stages.closed_form import fit_head\nfrom crosstune.assembly import batch"),
        ("stages.fit", "from crosstune.stages import monitor, state"),
        ("stages.fit", "from crosstune import ot"),
        ("floors.fno", "def f():\n    import torch\n    from crosstune.nn.fourier import FourierOperator"),
        ("report.page", "from crosstune.metrics import default_metric"),
        ("discovery", "from crosstune.errors import UsageError"),
        ("cli.fit", "import crosstune\nfrom crosstune import __version__"),
    ],
)
def test_the_check_lets_pass_what_is_right(module: str, text: str) -> None:
    assert violations(text, module) == []


# -- what really gets loaded -----------------------------------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter holds after the statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_is_light() -> None:
    assert loaded_by("import crosstune") & {*HEAVY, "sklearn", "scipy", "pandas", "matplotlib", "numpy"} == set()


def test_rooms_without_torch_do_not_load_it_by_a_detour() -> None:
    rooms = ", ".join(f"crosstune.{room}" for room in sorted(WITHOUT_TORCH))
    assert loaded_by(f"import {rooms}; crosstune.floors.all_floors()") & set(HEAVY) == set()
