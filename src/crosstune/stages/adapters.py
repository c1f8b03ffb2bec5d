"""Low-rank and other adapters at the body's linear maps, by ``peft``: put in, trained, merged away. Not a stage itself.

The saved model holds plain weights of the body's own names: nobody needs peft to load it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from crosstune.backbones import Body
from crosstune.errors import ConfigError
from crosstune.stages.fit_config import FitConfig, require_peft


def adapted_layers(body: Body, narrowest: int = 1) -> list[str]:
    """Names of the linear maps within the body's layers whose input and output are at least ``narrowest`` wide (a
    lower rank than that saves nothing)."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear map, transposed

    inside = {id(m) for block in body.blocks() for m in block.modules() if isinstance(m, (nn.Linear, Conv1D))}
    return [
        name for name, m in body.named_modules() if id(m) in inside and min(m.weight.shape) >= narrowest  # type: ignore[union-attr,arg-type]
    ]  # fmt: skip


def inject(body: Body, config: FitConfig, *, seed: int) -> list[str]:
    """Put adapters into the body, in place; gives the names of their parameters. The body computes what it did before,
    up to rounding. seed: of their initial values; the global generator is left alone.

    Raises ConfigError without peft, and for a body whose layers that kind of adapter cannot sit at."""
    kind = config.adapter
    assert kind is not None
    require_peft(kind)
    import peft

    targets = adapted_layers(body, config.adapter_rank)
    if not targets:
        raise ConfigError(
            f"the {body.family} body has no linear map of width {config.adapter_rank} or more in its layers",
            cause="a tiny body, or a rank above its width",
            fix="a smaller fit.adapter_rank, or fit.trainable=norms",
        )
    before = {id(p) for p in body.parameters()}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft says of GPT-2's transposed maps that it has found out by itself
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        torch.manual_seed(seed % 2**63)
        try:
            peft.inject_adapter_in_model(_config_of(peft, kind, config, targets), body)
        except (TypeError, ValueError) as problem:
            remove(body)
            raise ConfigError(
                f"fit.trainable = {kind!r} does not fit the {body.family} body: {str(problem).splitlines()[0]}",
                cause="adapters of this kind sit at ordinary linear maps only",
                fix="fit.trainable=lora",
            ) from None
    return [name for name, p in body.named_parameters() if id(p) not in before]


def _config_of(peft: Any, kind: str, config: FitConfig, targets: list[str]) -> Any:
    rank, alpha = config.adapter_rank, config.adapter_alpha or 2 * config.adapter_rank
    lora: Callable[..., Any] = lambda **more: peft.LoraConfig(  # noqa: E731
        r=rank, lora_alpha=alpha, target_modules=targets, **more
    )
    made: dict[str, Callable[[], Any]] = {
        "lora": lora,
        "dora": lambda: lora(use_dora=True),
        "rslora": lambda: lora(use_rslora=True),
        "pissa": lambda: lora(init_lora_weights="pissa"),
        "ia3": lambda: peft.IA3Config(target_modules=targets, feedforward_modules=[]),
        "loha": lambda: peft.LoHaConfig(r=rank, alpha=alpha, target_modules=targets),
        "lokr": lambda: peft.LoKrConfig(r=rank, alpha=alpha, target_modules=targets),
    }
    return made[kind]()


def merge(body: Body) -> None:
    """Add what the adapters learnt to the weights they sit at, and take them out: plain weights, plain names."""
    with torch.no_grad():
        for name, layer in _adapters(body):
            layer.merge(safe_merge=True)
            _replace(body, name, layer.get_base_layer())


def remove(body: Body) -> None:
    """Take adapters out without a trace of what they learnt."""
    for name, layer in _adapters(body):
        _replace(body, name, layer.get_base_layer())


def _adapters(body: Body) -> Iterator[tuple[str, Any]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    yield from [(name, module) for name, module in body.named_modules() if isinstance(module, BaseTunerLayer)]


def _replace(body: Body, name: str, module: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    parent = body.get_submodule(owner)
    with contextlib.suppress(AttributeError):
        parent._modules[last] = module
