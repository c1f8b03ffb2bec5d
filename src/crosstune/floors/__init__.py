"""Floors: what a user would otherwise pick. One file per floor; a new file is a new floor.

The heavy parts are imported on first use: ``from crosstune.floors import run_floors`` does not load scikit-learn, and
torch is loaded in the child process alone, by the floors that are networks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosstune.floors.base import Allowance, Floor, FloorSpec
    from crosstune.floors.execute import FloorResult
    from crosstune.floors.registry import all_floors, default_floors, get_floors
    from crosstune.floors.runner import FloorRun, run_floors

__all__ = [
    "Allowance",
    "Floor",
    "FloorResult",
    "FloorRun",
    "FloorSpec",
    "all_floors",
    "default_floors",
    "get_floors",
    "run_floors",
]

_HOMES = {
    "Allowance": "base",
    "Floor": "base",
    "FloorSpec": "base",
    "FloorResult": "execute",
    "all_floors": "registry",
    "default_floors": "registry",
    "get_floors": "registry",
    "FloorRun": "runner",
    "run_floors": "runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
