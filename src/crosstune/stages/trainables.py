"""Which parameters train, at which rate, by which optimiser. Not a stage itself."""

from __future__ import annotations

import math
from typing import Any

import torch

from crosstune.backbones import Body
from crosstune.errors import ConfigError
from crosstune.nn.model import CrossModalModel, part_of
from crosstune.stages.adapters import inject
from crosstune.stages.fit_config import FitConfig

BETAS = (0.9, 0.98)


def make_trainable(model: CrossModalModel, config: FitConfig, *, seed: int = 0) -> list[str]:
    """Put adapters in where asked for, and set ``requires_grad`` everywhere; gives the names of the parameters that
    train. ConfigError for more layers than the body has. seed: of adapters."""
    body: Body = model.body
    inside: set[str] | None = None  # names of the body that train; None: all of them
    if config.trainable in ("head", "embedder+head"):
        inside = set()
    elif config.trainable == "norms":
        inside = body.norms()
    elif config.trainable.startswith("last:"):
        inside = last_layers(body, int(config.trainable.removeprefix("last:")))
    elif config.adapter is not None:
        inside = set(inject(body, config, seed=seed))
    names = []
    for name, parameter in model.named_parameters():
        part = part_of(name)
        if part == "body":
            keep = inside is None or name.removeprefix("body.") in inside
        else:
            keep = part == "head" or config.trainable != "head"
        parameter.requires_grad_(keep)
        if keep:
            names.append(name)
    return names


def last_layers(body: Body, count: int) -> set[str]:
    """Names of the parameters of the last layers, of what stands between them, and of the final norm."""
    groups = body.groups()
    layers = [name for name, _ in groups if name.startswith("layer ")]
    if count > len(layers):
        raise ConfigError(
            f"fit.trainable = 'last:{count}': the {body.family} body has {len(layers)} layers",
            fix=f"fit.trainable=last:{len(layers)}, or all" if layers else "fit.trainable=all, or norms",
        )
    wanted = {*layers[-count:], "final norm"}
    return {name for group, names in groups if group in wanted for name in names}


def depths(body: Body) -> dict[str, int]:
    """Name of each parameter of the body -> how many layers stand between it and the output: 0 for the final norm, 1
    for the last layer, layers + 1 for what comes before the first."""
    order = body.groups()
    layers = [name for name, _ in order if name.startswith("layer ")]
    depth = {"embeddings": len(layers) + 1, "final norm": 0} | {
        name: len(layers) - index for index, name in enumerate(layers)
    }
    return {name: depth[group] for group, names in order for name in names}


def parameter_groups(model: CrossModalModel, config: FitConfig, names: list[str]) -> list[dict[str, Any]]:
    """Optimiser groups: one per part, depth and weight-decay choice, with its base rate and the step it starts at."""
    wanted, below = set(names), depths(model.body)
    head_width = max(1, model.head.linear.in_features)
    raw_width = max(1, getattr(model.head, "raw_width", 0))
    rates = {
        "embedder": config.embedder_rate, "head": config.head_rate / head_width, "skip": config.head_rate / raw_width,
        "body": config.body_rate if config.adapter is None else config.adapter_rate,
    }  # fmt: skip
    groups: dict[tuple[str, int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if name not in wanted:
            continue
        part: str = part_of(name)
        if part == "head" and ".skip" in name:
            part = "skip"
        depth = below[name.removeprefix("body.")] if part == "body" and config.layer_decay < 1 else 0
        rate = rates[part] * config.layer_decay**depth
        decay = parameter.ndim > 1
        group = groups.setdefault(
            (part, depth, decay),
            {"params": [], "lr": rate, "base": rate, "weight_decay": config.weight_decay if decay else 0.0,
             "start": 0 if part in ("head", "skip") else config.head_steps},
        )  # fmt: skip
        group["params"].append(parameter)
    return list(groups.values())


def make_optimiser(config: FitConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser by name."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9 if config.momentum is None else config.momentum)
    if config.optimiser == "adam":
        return torch.optim.Adam(groups, betas=BETAS)
    return torch.optim.AdamW(groups, betas=BETAS)


def set_rates(optimiser: torch.optim.Optimizer, decay: float, step: int, warmup_steps: int) -> float:
    """Set every group's rate for a step: base rate x warm-up x ``decay``. A group whose turn has not come is frozen, so
    that neither gradients nor moments are made for it. Gives the factor of the groups that train from the start."""
    for group in optimiser.param_groups:
        own = step - group["start"]
        for parameter in group["params"]:
            parameter.requires_grad_(own >= 0)
        group["lr"] = group["base"] * (warm(own, warmup_steps) * decay) if own >= 0 else 0.0
    return warm(step, warmup_steps) * decay


def warm(step: int, warmup_steps: int) -> float:
    """Linear warm-up, from the first step on above zero."""
    return min(1.0, (step + 1) / max(1, warmup_steps))


def fall(progress: float, schedule: str = "cosine") -> float:
    """What the rates are multiplied by besides: half a cosine or a line, one at 0 and zero at 1."""
    progress = min(1.0, progress)
    if schedule == "constant":
        return 1.0
    return 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
