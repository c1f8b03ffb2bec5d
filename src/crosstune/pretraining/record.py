"""What a pretraining leaves: weights in half precision, curve, report, and a card for people."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crosstune.pretraining.networks import Network
from crosstune.pretraining.recipe import Recipe
from crosstune.runs.files import write_bytes, write_json

POINTS = 100  # of a curve, at most: beyond it neighbours are merged


class Curve:
    """Means over stretches of steps, and the time they took."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []
        self.stretch = 1
        self.seconds = 0.0

    def add(self, step: int, values: dict[str, float], seconds: float) -> None:
        """values: of a step that is done, by name; seconds: that it took."""
        self.seconds += seconds
        last = self.points[-1] if self.points else None
        if last is None or last["count"] >= self.stretch:
            self.points.append({"step": step, "seconds": self.seconds, "count": 1, **values})
        else:
            _merge(last, {"step": step, "seconds": self.seconds, "count": 1, **values})
        if len(self.points) > 2 * POINTS:
            self.stretch *= 2
            pairs = [self.points[i : i + 2] for i in range(0, len(self.points), 2)]
            self.points = [pair[0] if len(pair) == 1 else _merge(*pair) for pair in pairs]

    def as_dict(self) -> dict[str, Any]:
        return {"points": self.points, "stretch": self.stretch, "seconds": self.seconds}

    def read(self, values: dict[str, Any]) -> None:
        self.points, self.stretch = list(values["points"]), int(values["stretch"])
        self.seconds = float(values["seconds"])


def _merge(one: dict[str, float], two: dict[str, float]) -> dict[str, float]:
    """Two neighbouring stretches as one, in the first's place. A part of the loss that only one of them has keeps its
    mean there."""
    total = one["count"] + two["count"]
    for name in sorted(one.keys() | two.keys()):
        if name not in ("step", "seconds", "count"):
            first, second = one.get(name, two.get(name, 0.0)), two.get(name, one.get(name, 0.0))
            one[name] = (first * one["count"] + second * two["count"]) / total
    one.update(step=two["step"], seconds=two["seconds"], count=total)
    return one


def hardware(device: torch.device) -> dict[str, Any]:
    """Where it was trained, and with what."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": device.type, "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__,
            "numpy": np.__version__, "python": platform.python_version()}  # fmt: skip


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write_results(
    out: Path, recipe: Recipe, network: Network, curve: Curve, drawing: float, device: torch.device
) -> dict[str, Any]:
    """model.safetensors (float16), config.json, curve.json, report.json and README.md; gives the report."""
    from safetensors.torch import save

    halves = {name: value.detach().cpu().half().contiguous() for name, value in network.tensors().items()}
    content = save(halves, metadata={"format": "pt"})
    samples = recipe.batch * (recipe.steps or 0)
    last = curve.points[-1] if curve.points else {}
    report = {
        "kind": recipe.kind, "preset": recipe.preset, "steps": recipe.steps, "samples": samples,
        "seconds": round(curve.seconds, 2), "samples_per_second": round(samples / max(curve.seconds, 1e-9), 1),
        "share_of_time_making_samples": round(drawing / max(curve.seconds, 1e-9), 4),
        "parameters": int(sum(value.numel() for value in halves.values())), "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "final": {k: v for k, v in last.items() if k != "count"},
        "hardware": hardware(device), "seed": recipe.seed,
    }  # fmt: skip
    write_json(out / "config.json", network.config())
    preprocessor = network.preprocessor()
    if preprocessor is not None:
        write_json(out / "preprocessor_config.json", preprocessor)
    write_json(out / "curve.json", curve.as_dict())
    write_json(out / "report.json", report)
    write_bytes(out / "README.md", card(recipe, report).encode())
    write_bytes(out / "model.safetensors", content)
    return report


def card(recipe: Recipe, report: dict[str, Any]) -> str:
    """The model card."""
    families = ", ".join(f"{name} ({share:g})" for name, share in recipe.formulas.items())
    parts = {name: weight for name, weight in recipe.objective.model_dump().items() if weight}
    final = ", ".join(f"{k} {v:.4g}" for k, v in report["final"].items() if k not in ("step", "seconds", "rate"))
    objective = ", ".join(f"{weight:g} x {name}" for name, weight in parts.items())
    if recipe.foreign:
        objective += f"; in {recipe.foreign:.0%} of the steps contrast alone, through random embedders"
    where = report["hardware"]
    sizes = ", ".join("x".join(str(n) for n in size) for size in recipe.sizes) + " samples"
    return f"""---
license: apache-2.0
library_name: transformers
---
# A small {recipe.kind} encoder, pretrained on formulas

{report["parameters"]:,} parameters in half precision ({report["bytes"]:,} bytes): {recipe.body.layers} layers of width
{recipe.body.width}. `transformers.AutoModel.from_pretrained` loads it from this folder.

- **Data**: none but formulas: {recipe.classes:,} classes of {families}; signals of {sizes}.
- **Objective**: {objective}.
- **Training**: {recipe.steps:,} steps of {recipe.batch} signals, seed {recipe.seed}, {report["seconds"]:,.0f} s on
  {where["name"]} ({where["device"]}, {where["threads"]} threads), {report["samples_per_second"]:,.0f} signals per
  second.
- **Last stretch of the curve**: {final}.
- **sha256 of model.safetensors**: `{report["sha256"]}`.

`recipe.json` is the whole recipe: the same recipe on the same machine gives the same weights. `curve.json` is the
curve,
`report.json` the figures above.
"""
