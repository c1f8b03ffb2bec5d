"""Records of sweeps by formula: a contestant has a factor times the task's own error, with a spread over seeds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

DATA_SETS = ("apple", "birch", "cedar", "dogwood", "elder", "fir", "gorse", "hazel")
KINDS = {"apple": ("table", "classification"), "birch": ("grid", "dense")}
FACTORS = {"recraft": 0.8, "no-align": 0.9, "finetune": 1.0, "scratch": 1.5, "shuffled": 1.0}
FLOORS = ("nearest", "linear")

Error = Callable[[str, str, int, str], float | None]  # task, method, seed, split


def wobble(task: str, method: str, seed: int) -> float:
    """A number in [-1, 1] that looks like chance, the same everywhere."""
    return random.Random(f"{task} {method} {seed}").uniform(-1, 1)


def by_factor(factors: Mapping[str, float], *, noise: float = 0.02) -> Error:
    def error(task: str, method: str, seed: int, split: str) -> float:
        size = 10.0 ** (len(task.split("/")[1]) % 4 - 2)  # scales differ by a thousand between tasks
        return size * factors[method] * (1 + noise * wobble(task + split, method, seed))

    return error


def lines(
    factors: Mapping[str, float] = FACTORS, *, data_sets: Iterable[str] = DATA_SETS,
    shares: Iterable[int] = (100, 30, 10), seeds: Iterable[int] = (0, 1, 2),
    splits: Iterable[str] = ("validation", "test"), error: Error | None = None, **more: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """One line per task, method, seed and split. ``error`` giving None makes a failed job."""
    error = error or by_factor(factors)
    splits = tuple(splits)
    found = []
    for name in data_sets:
        modality, kind = KINDS.get(name, ("series", "classification"))
        for share in shares:
            task = f"lab/{name}" + ("" if share == 100 else f"-{share}")
            for method in factors:
                for seed in seeds:
                    values = [error(task, method, seed, split) for split in splits]
                    floor = method in FLOORS
                    shared = {
                        "schema": 1, "job": f"{task} {method} {seed}", "suite": "lab", "task": task, "method": method,
                        "role": "floor" if floor else "method", "backbone": None if floor else "twin", "seed": seed,
                        "modality": modality, "kind": kind, "protocol": "clean", "budget": "20s", "metric": "rmse",
                        "primary": True, "selected_on": "validation", "seconds": 20.0, "peak_mib": 100.0 + seed,
                        "energy_joules": 500.0, "energy_from": "CPU (RAPL, whole machine)", "data": f"files {name}",
                        "crosstune": "0.1.0", "versions": {"torch": "2.0", "numpy": "2.1"}, "time": "t1",
                        "hardware": {"cpu": "Abacus", "cores": 2, "threads": 1, "device": "cpu"},
                    }  # fmt: skip
                    if None in values:
                        empty = {
                            "split": None,
                            "value": None,
                            "error": None,
                            "status": "failed",
                            "note": "out of paper",
                        }
                        found.append(shared | empty | {"line": 0, "lines": 1} | more)
                        continue
                    for i, (split, value) in enumerate(zip(splits, values)):
                        scored = {"split": split, "value": value, "error": value, "status": "ok", "note": None}
                        found.append(shared | scored | {"line": i, "lines": len(splits)} | more)
    return found


def write(folder: Path, entries: Iterable[Mapping[str, Any]], torn: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "records.jsonl").write_text(text + torn)
    return folder


def asked(folder: Path, **more: Any) -> None:
    """The sweep.json beside the records."""
    one = {
        "suite": "lab", "scale": "small", "tasks": ["lab/apple", "lab/birch"], "methods": ["recraft", "no-align"],
        "data": None, "protocol": "clean", "limit": {}, "backbones": ["twin"], "seeds": [0, 1, 2], "budget": "20s",
        "settings": {"align.space": "means"}, "threads": 1,
    } | more  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps({"schema": 1, "asked": [one]}))
