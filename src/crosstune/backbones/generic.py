"""Any other encoder that takes ``inputs_embeds``: found by trying, refused with the reason."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from crosstune.backbones.contract import Body, Family
from crosstune.backbones.sequence import drop_module, longest, longest_list, random_words, smallest_vocabulary
from crosstune.backbones.transformers_io import load_model, plain_config, quiet


class GenericBody(Body):
    """What ``AutoModel`` makes of a configuration, without its word embeddings."""

    family = "generic"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from transformers import AutoModel

        self.hf_config = auto_config(config)
        small = auto_config(config | smallest_vocabulary(self.hf_config))
        with quiet():
            self.model = AutoModel.from_config(small)
        words = self.model.get_input_embeddings()
        self.width = int(words.weight.shape[1])
        drop_module(self.model, words)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None
        count = int(self.hf_config.num_hidden_layers)
        self.widths = (int(self.hf_config.hidden_size),) * (count + 1)
        self.max_tokens = longest(self.hf_config)

    def encode(self, tokens: Tensor, mask: Tensor | None, grid: tuple[int, ...], lead: int) -> tuple[Tensor, ...]:
        attention = torch.ones(tokens.shape[:2], device=tokens.device) if mask is None else mask
        out = self.model(inputs_embeds=tokens, attention_mask=attention.long(), output_hidden_states=True)
        states = (*out.hidden_states[:-1], out.last_hidden_state)
        if len(states) != len(self.widths):
            # layers that share weights, or groups of layers: their number is what the model gives
            raise ValueError(f"{len(states)} hidden states where {len(self.widths)} were expected")
        return states

    def blocks(self) -> list[nn.Module]:
        return longest_list(self.model, int(self.hf_config.num_hidden_layers))

    def config_dict(self) -> dict[str, Any]:
        return plain_config(self.hf_config) | {"model_type": self.hf_config.model_type}


def auto_config(config: dict[str, Any]) -> Any:
    """A configuration object from plain values with their ``model_type``."""
    from transformers import AutoConfig

    values = dict(config)
    return AutoConfig.for_model(values.pop("model_type"), **{k: v for k, v in values.items() if k != "architectures"})


def model_class_of(settings: Any) -> Any:
    """The class that ``AutoModel`` takes for a configuration."""
    from transformers import AutoModel

    found: Any = AutoModel._model_mapping[type(settings)]
    return found[0] if isinstance(found, tuple) else found


def reason_against(config: dict[str, Any]) -> str | None:
    """Why no adapter can be made for a configuration, or None. Builds nothing."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    kind = str(config.get("model_type"))
    if kind not in MODEL_MAPPING_NAMES:
        return f"this version of transformers has no model of type {kind!r}"
    if config.get("is_encoder_decoder"):
        return "it is an encoder-decoder: two bodies, of which a target needs one (T5's encoder has an adapter)"
    try:
        settings = auto_config(config)
        cls = model_class_of(settings)
    except Exception as problem:
        return f"its configuration is refused by transformers ({type(problem).__name__}: {problem})"
    signature = inspect.signature(cls.forward).parameters
    if "inputs_embeds" not in signature:
        return f"{cls.__name__} takes {list(signature)[1]} only, no embedded tokens (inputs_embeds)"
    if "attention_mask" not in signature:
        return f"{cls.__name__} takes no attention mask, so ragged batches would leak their padding"
    for name in ("hidden_size", "num_hidden_layers"):
        if not isinstance(getattr(settings, name, None), int):
            return f"its configuration states no {name}"
    return None


def _load(folder: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Body, nn.Module]:
    settings = auto_config(config)
    cls = model_class_of(settings)
    model = load_model(cls, folder, {k: v for k, v in config.items() if k != "model_type"}, tensors,
                       unused=("pooler.", "pooler_"))  # fmt: skip
    body = GenericBody(plain_config(model.config) | {"model_type": config["model_type"]})
    words = model.get_input_embeddings()
    kept = set(body.model.state_dict())
    body.model.load_state_dict({k: v for k, v in model.state_dict().items() if k in kept}, strict=True)
    # try it once: what cannot run must be refused here, not after the data were read
    with torch.no_grad():
        body.eval()(torch.zeros(2, 5, body.width), torch.ones(2, 5, dtype=torch.bool))
    return body, nn.Embedding.from_pretrained(words.weight.detach().clone(), freeze=True)


def _twin() -> dict[str, Any]:
    return {
        "model_type": "ernie", "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 128, "pad_token_id": 0,
    }  # fmt: skip


FAMILY = Family(
    name="generic", model_types=(), modality="text",
    summary="any other encoder that accepts inputs_embeds (ERNIE, RemBERT, Nystromformer ...)",
    build=GenericBody, load=_load, twin=_twin, source=random_words,
)  # fmt: skip
