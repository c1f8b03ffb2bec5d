"""Training by a recipe: resumable, with its record. Steps decide everything; a budget in seconds becomes steps
first."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from crosstune.errors import Interrupted, RunError, UsageError
from crosstune.nn.devices import resolve_device
from crosstune.pretraining.networks import build
from crosstune.pretraining.objectives import Heads, loss_and_parts
from crosstune.pretraining.recipe import Recipe, read_recipe
from crosstune.pretraining.record import Curve, write_results
from crosstune.pretraining.stream import CHUNK, Stream
from crosstune.runs.files import write_bytes, write_json
from crosstune.seeding import derive_seed

TRIAL = 5  # steps of each size that measure the speed, on a network that is thrown away
SAVE_SECONDS = 20.0


class Trainer:
    """Network, heads, optimiser and the step they have reached."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.network = build(recipe).to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(recipe.seed, "heads"))
            self.heads = Heads(recipe, self.network).to(device)
        both = [*self.network.parameters(), *self.heads.parameters()]
        trained = [p for p in both if p.requires_grad]
        # norms, biases and theta's rows of one axis are not pulled towards zero
        groups = [{"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.decay},
                  {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]  # fmt: skip
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
        self.trained = trained
        self.stream = Stream(recipe)
        self.step = 0
        self.drawing = 0.0  # seconds spent on making samples

    def rate(self, total: int) -> float:
        """Linear to the recipe's rate over the warm-up, then a cosine to zero at ``total`` steps."""
        warm = min(self.recipe.warmup, max(1, total // 5))
        if self.step < warm:
            return self.recipe.rate * (self.step + 1) / warm
        return self.recipe.rate * 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, total - warm)))

    def advance(self, total: int) -> dict[str, float]:
        """One step; gives the loss, its parts and the rate."""
        before = time.perf_counter()
        x, labels = self.stream.batch(self.step)
        x, labels = x.to(self.device), labels.to(self.device)
        self.drawing += time.perf_counter() - before
        hiding = torch.Generator().manual_seed(derive_seed(self.recipe.seed, "hidden", self.step))
        rate = self.rate(total)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        low = self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            loss, parts = loss_and_parts(self.recipe, self.network, self.heads, x, labels, hiding)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.recipe.clip)
        self.optimiser.step()
        self.step += 1
        return {"loss": float(loss.detach()), "rate": rate} | parts

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "heads": self.heads.state_dict(),
                "optimiser": self.optimiser.state_dict(), "step": self.step, "drawing": self.drawing}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.heads.load_state_dict(state["heads"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.drawing = int(state["step"]), float(state["drawing"])


def planned_steps(recipe: Recipe, seconds: float, device: torch.device) -> int:
    """How many steps fit, by a trial of a few of every size whose network is thrown away; the trial's own time is taken
    off."""
    started = time.perf_counter()
    trial = Trainer(recipe, device)
    trial.advance(1000)  # warms up caches
    per_round = 0.0  # seconds of one step of every size
    for chunk in range(len(recipe.sizes)):  # each is of another size; its first step draws the chunk
        trial.step, drawn, before = chunk * CHUNK, trial.drawing, time.perf_counter()
        for _ in range(TRIAL):
            trial.advance(1000)
        drawn = trial.drawing - drawn
        per_round += (time.perf_counter() - before - drawn) / TRIAL + drawn / CHUNK
    return max(1, int((seconds - (time.perf_counter() - started)) * len(recipe.sizes) / per_round))


def train(
    recipe: Recipe, out: Path, *, seconds: float | None = None, device: str = "auto",
    on_step: Callable[[int, int, float], None] | None = None, stop: Callable[[int], bool] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Pretrain by a recipe into a folder, or go on with what is there; gives the report that is written beside the
    weights.

    Either ``recipe.steps`` is set, or ``seconds`` is and becomes steps by a trial of the speed. on_step hears the step,
    how many there will be, and the loss. stop(step): True ends the work after that step with its checkpoint kept.
    Raises Interrupted then, RunError when the folder holds another recipe's run, UsageError when neither steps nor
    seconds are given.
    """
    place = resolve_device(device)
    recipe = _agreed(recipe, out, seconds, place)
    assert recipe.steps is not None
    write_json(out / "recipe.json", recipe.model_dump(mode="json"))
    trainer, curve = Trainer(recipe, place), Curve()
    _restore(out / "checkpoint.pt", trainer, curve)
    saved = time.perf_counter()
    while trainer.step < recipe.steps:
        before = time.perf_counter()
        values = trainer.advance(recipe.steps)
        curve.add(trainer.step, values, time.perf_counter() - before)
        if on_step is not None:
            on_step(trainer.step, recipe.steps, values["loss"])
        stopped = stop is not None and stop(trainer.step)
        if stopped or time.perf_counter() - saved > SAVE_SECONDS:
            _save(out / "checkpoint.pt", trainer, curve)
            saved = time.perf_counter()
        if stopped:
            raise Interrupted(f"interrupted after {trainer.step} of {recipe.steps} steps",
                              fix="give the same command again to go on")  # fmt: skip
    report = write_results(out, recipe, trainer.network, curve, trainer.drawing, place)
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return report


def _agreed(recipe: Recipe, out: Path, seconds: float | None, device: torch.device) -> Recipe:
    """The recipe with its steps: those of the folder's own run, if there is one and it is of the same recipe."""
    known = out / "recipe.json"
    if known.exists():
        before = read_recipe(known)
        same = before.model_copy(update={"steps": None}) == recipe.model_copy(update={"steps": None})
        if not same or recipe.steps not in (None, before.steps):
            raise RunError(
                f"{str(out)!r} holds a pretraining of another recipe",
                cause="the folder was used before with other settings",
                fix="give the same settings to go on with it, or another --out",
            )
        return before
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{str(out)!r} is not empty and holds no pretraining", fix="choose another --out")
    if recipe.steps is not None:
        return recipe
    if seconds is None:
        raise UsageError("neither steps nor a time were given", fix="pass --budget 5m or --budget 2000steps")
    return recipe.model_copy(update={"steps": planned_steps(recipe, seconds, device)})


def _save(path: Path, trainer: Trainer, curve: Curve) -> None:
    buffer = io.BytesIO()
    torch.save({"trainer": trainer.state(), "curve": json.dumps(curve.as_dict())}, buffer)
    write_bytes(path, buffer.getvalue())


def _restore(path: Path, trainer: Trainer, curve: Curve) -> None:
    if not path.exists():
        return
    try:
        found: dict[str, Any] = torch.load(path, map_location=trainer.device, weights_only=True)
        trainer.restore(found["trainer"])
        curve.read(json.loads(found["curve"]))
    except (UnpicklingError, RuntimeError, KeyError, ValueError, EOFError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise RunError(
            f"cannot go on from {str(path)!r}: {reason}", cause="a damaged file, or one of another version",
            fix="remove the folder and start again",
        ) from None  # fmt: skip
