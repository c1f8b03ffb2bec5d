"""Everything that decides a pretraining: with the number of steps it is a function of nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crosstune.data.formulas import formulas
from crosstune.discovery import suggest
from crosstune.errors import ConfigError, UsageError

Kind = Literal["sequence", "grid"]


class Shape(BaseModel):
    """Of the body: width and number of layers, heads, and width inside the feed-forward layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    inner: int = Field(gt=0)


class Objective(BaseModel):
    """Weights of the parts of the loss: cross-entropy over formula classes; contrast of two instances of a class
    against the others of the batch; squared error of the values of hidden windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    supervised: float = Field(default=1.0, ge=0)
    contrastive: float = Field(default=0.0, ge=0)
    masked: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _some(self) -> Objective:
        if self.supervised + self.contrastive + self.masked <= 0:
            raise ValueError("every part of the objective has weight 0")
        return self


class Recipe(BaseModel):
    """A pretraining. formulas: families and their shares of classes. sizes: of the signals, drawn in turn. rate: of
    AdamW at its highest, after ``warmup`` steps; it then falls to zero as a cosine. steps: None until a budget has
    become a number of them. smoothing: of the labels. hidden: share of windows that the masked part hides.
    temperature: of the contrast. foreign: share of steps whose tokens are those of a random embedder instead of
    theta's, as a target's are at first; they train the contrast alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    preset: str
    body: Shape
    formulas: dict[str, float]
    classes: int = Field(default=2000, ge=2)
    sizes: tuple[tuple[int, ...], ...]
    objective: Objective = Objective()
    batch: int = Field(default=64, ge=2)
    rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=100, ge=0)
    decay: float = Field(default=0.05, ge=0)
    clip: float = Field(default=1.0, gt=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    hidden: float = Field(default=0.4, gt=0, lt=1)
    temperature: float = Field(default=0.1, gt=0)
    foreign: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _known(self) -> Recipe:
        known = formulas(self.kind)
        for name, share in self.formulas.items():
            if name not in known:
                raise ValueError(f"no {self.kind} formula {name!r}: {suggest(name, list(known))}")
            if share <= 0:
                raise ValueError(f"the share of {name!r} is {share}, it must be positive")
        axes = {"sequence": 1, "grid": 2}[self.kind]
        if not self.formulas or not self.sizes or any(len(size) != axes for size in self.sizes):
            raise ValueError(f"a {self.kind} recipe names formulas, and sizes of {axes} axes")
        if self.foreign and not self.objective.contrastive:
            raise ValueError("steps with a foreign embedder train the contrast, whose weight is 0")
        if self.body.width % self.body.heads:
            raise ValueError(f"width {self.body.width} is not a multiple of {self.body.heads} heads")
        return self


def make_recipe(values: dict[str, Any]) -> Recipe:
    """A recipe from plain values; ConfigError with all mistakes at once."""
    try:
        return Recipe(**values)
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in problem.errors()]
        raise ConfigError("the recipe is not valid: " + "; ".join(lines), fix="correct these values") from None


def read_recipe(path: Path) -> Recipe:
    """A recipe from its JSON file; UsageError when it is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise UsageError(
            f"cannot read the recipe {str(path)!r}: {problem}", fix="pass a recipe.json that a pretraining wrote"
        ) from None
    return make_recipe(values)


def asked_recipe(
    kind: str, name: str, file: str | None, settings: dict[str, Any], *, seed: int | None, steps: int | None
) -> Recipe:
    """The recipe behind a command: of a file or a preset, with settings (``objective.masked=1`` reaches inside)."""
    if kind not in PRESETS:
        raise UsageError(f"nothing is pretrained on {kind!r}", fix=suggest(kind, list(PRESETS)))
    changes = {k: v for k, v in (("seed", seed), ("steps", steps)) if v is not None}
    if file is None:
        values = preset(kind, name).model_dump(mode="json")  # type: ignore[arg-type]
    else:
        values = read_recipe(Path(file)).model_dump(mode="json")
        if values["kind"] != kind:
            raise UsageError(f"{file!r} is a recipe for {values['kind']}", fix=f"crosstune pretrain {values['kind']}")
    for key, value in settings.items():
        first, _, rest = key.partition(".")
        if rest:
            values[first] = dict(values.get(first) or {}) | {rest: value}
        else:
            values[first] = value
    return make_recipe(values | changes)


_SEQUENCE: dict[str, Any] = {
    "kind": "sequence", "sizes": ((64,), (128,), (256,)), "classes": 4096, "batch": 64, "rate": 2e-3,
    "objective": {"supervised": 1.0, "contrastive": 1.0},
    "formulas": dict.fromkeys(("chaos", "events", "kernels", "oscillations", "prototypes", "stochastic"), 1.0),
}  # fmt: skip
_GRID: dict[str, Any] = {
    "kind": "grid", "sizes": ((16, 16), (24, 24), (32, 32)), "rate": 2e-3, "warmup": 50, "classes": 1000,
    "objective": {"supervised": 1.0, "masked": 1.0},
    "formulas": dict.fromkeys(("contours", "flows", "fractals", "strokes", "textures", "waves"), 1.0),
}  # fmt: skip
PRESETS: dict[Kind, dict[str, dict[str, Any]]] = {
    "sequence": {
        "tiny": _SEQUENCE | {"body": {"width": 128, "layers": 4, "heads": 4, "inner": 192}},
        "small": _SEQUENCE | {"body": {"width": 256, "layers": 6, "heads": 8, "inner": 384}},
    },
    "grid": {
        "tiny": _GRID | {"body": {"width": 128, "layers": 4, "heads": 4, "inner": 512}},
        "small": _GRID | {"body": {"width": 192, "layers": 6, "heads": 6, "inner": 768}},
    },
}  # fmt: skip


def preset(kind: Kind, name: str, **changes: Any) -> Recipe:
    """A preset with changes."""
    known = PRESETS[kind]
    if name not in known:
        raise UsageError(f"no preset {name!r} for {kind} pretraining", fix=suggest(name, list(known)))
    return make_recipe(known[name] | {"preset": name} | changes)
