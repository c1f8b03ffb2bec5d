"""Where to compute: names of devices, what this machine has, and what it computes fast."""

from __future__ import annotations

import os
import re

import torch

from crosstune.errors import UsageError

PATTERN = r"^(auto|cpu|mps|cuda(:[0-9]+)?)$"


def check_device(name: str) -> None:
    """UsageError for what is no name of a device, here or elsewhere."""
    if re.fullmatch(PATTERN, name) is None:
        raise UsageError(f"--device {name!r} is no device", fix="one of: auto, cpu, cuda, cuda:1, mps")


def resolve_device(name: str = "auto") -> torch.device:
    """The device by name: "cpu", "cuda" (the first, or this process's own where there are several), "cuda:1", "mps";
    "auto" is the first CUDA device, else Apple's, else the CPU. UsageError for one that is not there."""
    check_device(name)
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps else "cpu"
    if name == "mps" and not mps:
        raise UsageError(
            "--device mps: this torch finds no Apple GPU", cause="another machine, or a torch built without it",
            fix="--device auto takes what there is",
        )  # fmt: skip
    if not name.startswith("cuda"):
        return torch.device(name)
    count = torch.cuda.device_count() if cuda else 0
    index = int(name.partition(":")[2] or os.environ.get("LOCAL_RANK", "0"))
    if index >= count:
        raise UsageError(
            f"--device {name}: this torch finds {count} CUDA devices",
            cause="no driver, a torch built for the CPU, or CUDA_VISIBLE_DEVICES" if not count else None,
            fix="--device auto takes what there is" if not count else f"cuda:0 to cuda:{count - 1}",
        )
    return torch.device("cuda", index)


def check_processes(count: int, device: torch.device, name: str) -> None:
    """UsageError when so many processes cannot have a device each. name: as it was asked for."""
    if count == 1 or device.type == "cpu":
        return
    found = torch.cuda.device_count() if device.type == "cuda" else 1
    if ":" in name or found < count:
        raise UsageError(
            f"--processes {count} need as many devices, and --device {name} gives {1 if ':' in name else found}",
            fix="--device cuda takes the first ones; --processes 1 trains on one",
        )


def describe_device(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 products. Whether they are faster is another matter on CPUs."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
    return False
