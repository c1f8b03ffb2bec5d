"""Finding plug-ins by walking a package: one new file is one new method, metric, floor or backbone family.

A module takes part by defining the attribute its package asks for (``METHOD``, ``METRIC``, ``FLOOR``, ``FAMILY``).
There is no central list to forget.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import lru_cache
from typing import Any

from crosstune.errors import UsageError


@lru_cache(maxsize=None)
def discover(package: str, attribute: str) -> dict[str, Any]:
    """Name -> object for every module of ``package`` that defines ``attribute`` (one object or a tuple of them).

    Objects need a ``name``. Two objects of the same name are an error of ours and raise ``RuntimeError``.
    """
    found: dict[str, Any] = {}
    root = importlib.import_module(package)
    for info in sorted(pkgutil.iter_modules(root.__path__), key=lambda i: i.name):
        module = importlib.import_module(f"{package}.{info.name}")
        value = getattr(module, attribute, None)
        if value is None:
            continue
        for item in value if isinstance(value, tuple) else (value,):
            if item.name in found:
                raise RuntimeError(f"two plug-ins named {item.name!r} in {package}")
            found[item.name] = item
    return found


def suggest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """``"did you mean 'x'? known: a, b, c"``"""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known))}"


def pick(package: str, attribute: str, name: str, what: str) -> Any:
    """The plug-in called ``name``; a ``UsageError`` with a suggestion when there is none."""
    found = discover(package, attribute)
    if name not in found:
        raise UsageError(f"unknown {what} {name!r}", fix=suggest(name, list(found)))
    return found[name]
