"""Which floors there are, and which of them fit some data."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from crosstune.discovery import discover, suggest
from crosstune.errors import UsageError
from crosstune.floors.base import FloorSpec
from crosstune.floors.execute import shares
from crosstune.records import Dataset


def all_floors(plugins: Iterable[str] = ()) -> dict[str, FloorSpec]:
    """Every floor by name, cheapest first.

    plugins: further modules that define ``FLOOR``, as importable names or as paths of Python files. A plug-in takes
    the place of a built-in floor of the same name. Raises ``UsageError`` for one that cannot be loaded.
    """
    found = dict(discover("crosstune.floors", "FLOOR"))
    for plugin in plugins:
        spec = _load(plugin)
        for item in spec if isinstance(spec, tuple) else (spec,):
            found[item.name] = item
    return dict(sorted(found.items(), key=lambda item: (item[1].effort, item[0])))


def default_floors(data: Dataset, plugins: Iterable[str] = (), seconds: float | None = None) -> tuple[str, ...]:
    """Names of the floors that fit the kind, modality and shape of the data and are installed, cheapest first.

    seconds: the limit for all of them. Floors that need a ``least`` time are left out, the dearest first, as long as
    one of them would get less; and all of them where there is no limit, since none says that they may take minutes.
    """
    fitting = [spec for spec in all_floors(plugins).values() if spec.unfit(data) is None]
    if seconds is None:
        return tuple(spec.name for spec in fitting if not spec.least)
    while True:
        planned = shares(tuple(fitting), seconds)
        demanding = [spec for spec in fitting if spec.least]
        if all(planned[spec.name] >= spec.least for spec in demanding):
            return tuple(spec.name for spec in fitting)
        fitting.remove(demanding[-1])


def get_floors(names: Iterable[str], plugins: Iterable[str] = ()) -> tuple[FloorSpec, ...]:
    """The floors of these names, each once, cheapest first; ``UsageError`` with a suggestion for an unknown one."""
    known = all_floors(plugins)
    wanted = tuple(names)
    for name in wanted:
        if name not in known:
            raise UsageError(f"unknown floor {name!r}", fix=suggest(name, list(known)))
    return tuple(spec for name, spec in known.items() if name in wanted)


def _load(plugin: str) -> FloorSpec | tuple[FloorSpec, ...]:
    try:
        if plugin.endswith(".py"):
            name = f"crosstune_floor_{Path(plugin).stem}"
            spec = importlib.util.spec_from_file_location(name, plugin)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(plugin)
        return module.FLOOR  # type: ignore[no-any-return]
    except Exception as error:
        raise UsageError(
            f"floor plug-in {plugin!r} cannot be loaded ({type(error).__name__}: {error})",
            fix="name an importable module, or the path of a .py file, that defines FLOOR",
        ) from error
