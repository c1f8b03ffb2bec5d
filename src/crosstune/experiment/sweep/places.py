"""Where the data of a sweep's tasks lie: in a folder that the user names, or generated once into the sweep's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from crosstune.benchmarks import Scale, Task
from crosstune.data.lazy import files_fingerprint
from crosstune.errors import DataError, UsageError
from crosstune.runs.files import write_json

DATA = "data"
MARK = "generated.json"


def short(task: Task) -> str:
    return task.name.split("/")[1]


def found_in(folder: str | Path, tasks: Iterable[Task]) -> dict[str, tuple[str, str]]:
    """Task -> (where its data lie, what they are): FOLDER/NAME, FOLDER/SUITE/NAME or FOLDER itself, the first that the
    task recognises. DataError naming every task whose data are not there."""
    root = Path(folder)
    places: dict[str, tuple[str, str]] = {}
    missing = []
    for task in tasks:
        candidates = (root / short(task), root / task.suite / short(task), root)
        at = next((place for place in candidates if place.exists() and task.recognise(place)), None)
        if at is None:
            missing.append(task.name)
        else:
            places[task.name] = (str(at.resolve()), fingerprint(at))
    if missing:
        first = missing[0].split("/")[1]
        raise DataError(
            f"{str(folder)!r} does not hold the data of {', '.join(missing)}",
            cause=f"each task's files are looked for in {root / first}, {root / missing[0]} and {root}",
            fix=f"`crosstune data verify {root / first} --task {missing[0]}` says what is missing and where it is "
            "published; without --data the sweep generates its own",
        )
    return places


def fingerprint(place: Path) -> str:
    """The files' names, sizes and samples of their content, as 16 hexadecimal digits; the same wherever they lie."""
    if place.is_file():
        files = [place]
    else:
        files = [p for p in sorted(place.rglob("*")) if p.is_file() and not p.name.startswith(".") and p.name != MARK]
    names = hashlib.sha256("\n".join(p.relative_to(place).as_posix() for p in files).encode()).hexdigest()
    return "files " + hashlib.sha256((names + files_fingerprint(files)).encode()).hexdigest()[:16]


def arguments(scale: Scale, task: Task) -> dict[str, int]:
    """What the scale passes to ``generate`` of this task."""
    return dict(scale.generate.get(task.name, scale.generate.get("*", {})))


def generated(
    out: Path, scale: Scale, tasks: Iterable[Task], *, workers: int, on_task: Callable[[Task, bool], None],
    on_share: Callable[[float], None],
) -> dict[str, tuple[str, str]]:  # fmt: skip
    """The same for data made here, each once: OUT/data/NAME with a mark beside it when it is whole. UsageError when the
    mark names other arguments. on_task hears of each task, and whether its data were there already."""
    places = {}
    for task in tasks:
        wanted = arguments(scale, task) | {"seed": 0}
        folder = out / DATA / short(task)
        there = _marked(folder)
        on_task(task, there is not None)
        if there is None:
            task.generate(folder, **wanted, workers=workers, on_share=on_share)  # type: ignore[arg-type]
            write_json(folder / MARK, {"task": task.name, "arguments": wanted})
        elif there != wanted:
            raise UsageError(
                f"{str(folder)!r} holds data generated with {_said(there)}, and this scale wants {_said(wanted)}",
                fix="choose another --out for another scale",
            )
        places[task.name] = (str(folder.resolve()), f"generated {_said(wanted)}")
    return places


def _marked(folder: Path) -> dict[str, int] | None:
    if not (folder / MARK).exists():
        return None
    return dict(json.loads((folder / MARK).read_text())["arguments"])


def _said(arguments: Mapping[str, int]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(arguments.items()))
