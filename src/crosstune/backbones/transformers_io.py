"""Between transformers' model folders and ours: configurations as plain values, weights under a checked loading."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_LEFT_OUT = ("architectures", "transformers_version", "_name_or_path", "dtype", "torch_dtype", "id2label", "label2id",
             "task_specific_params", "problem_type", "output_hidden_states", "output_attentions")  # fmt: skip


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration's own values, JSON-ready; what only labels or logs is left out."""
    values = config.to_diff_dict()
    # what differs from the class's defaults is enough, but for defaults that a later version might change
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
                 "max_position_embeddings", "pad_token_id"):  # fmt: skip
        value = getattr(config, name, None)
        if value is not None and name not in getattr(config, "attribute_map", {}):
            values[name] = value
    return {k: v for k, v in values.items() if k not in _LEFT_OUT}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers reports unused head weights in a table: expected here, since heads are dropped."""
    from transformers.utils import logging as transformers_logging

    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers_logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()


def load_model(
    cls: Any, folder: str, config: dict[str, Any], tensors: dict[str, Tensor], *, unused: tuple[str, ...] = (),
    options: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """``cls`` with the given weights in float32. KeyError when weights that the model needs are missing, RuntimeError
    when shapes do not fit. unused: beginnings of parameter names whose absence does not matter."""
    settings = cls.config_class(**{k: v for k, v in config.items() if k != "architectures"})
    with quiet():
        model, info = cls.from_pretrained(
            None, config=settings, state_dict=dict(tensors), dtype=torch.float32, output_loading_info=True,
            **(options or {}),
        )  # fmt: skip
    missing = sorted(k for k in info["missing_keys"] if not k.startswith(unused or ("\0",)))
    if missing:
        raise KeyError(f"weights {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''} are missing")
    if info.get("mismatched_keys"):
        raise ValueError(f"shapes differ: {sorted(info['mismatched_keys'])[:3]}")
    return model.eval()
