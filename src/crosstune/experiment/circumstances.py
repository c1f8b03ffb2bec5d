"""Versions and hardware: what a figure may depend on besides its configuration."""

from __future__ import annotations

import os
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from crosstune.nn.devices import describe_device, resolve_device


@lru_cache(maxsize=1)  # reading the metadata of a dozen packages takes longer than a small fit
def versions() -> dict[str, str]:
    """Versions of everything that can change a figure."""
    from importlib.metadata import PackageNotFoundError, version

    out = {"python": platform.python_version()}
    for name in (
        "torch",
        "transformers",
        "numpy",
        "scipy",
        "scikit-learn",
        "POT",
        "pyarrow",
        "aeon",
        "accelerate",
        "peft",
    ):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def hardware(device: str = "auto") -> dict[str, Any]:
    """What a run runs on. device: as it was asked for."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as handle:
            model = next(line.split(":", 1)[1].strip() for line in handle if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "platform": platform.platform(), "cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "device": describe_device(resolve_device(device)), "executable": Path(sys.executable).name,
    }  # fmt: skip
