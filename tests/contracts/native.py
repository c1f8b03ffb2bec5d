"""The witness: transformers' own models of every family, tiny and random, with their own forward on native input."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crosstune.backbones.load import families

# family -> (bare model, model with a head whose checkpoints are what one downloads)
CLASSES: dict[str, tuple[str, str]] = {
    "bert": ("BertModel", "BertForMaskedLM"),
    "roberta": ("RobertaModel", "RobertaForMaskedLM"),
    "distilbert": ("DistilBertModel", "DistilBertForMaskedLM"),
    "deberta": ("DebertaV2Model", "DebertaV2ForSequenceClassification"),
    "modernbert": ("ModernBertModel", "ModernBertForMaskedLM"),
    "electra": ("ElectraModel", "ElectraForPreTraining"),
    "mpnet": ("MPNetModel", "MPNetForMaskedLM"),
    "gpt2": ("GPT2Model", "GPT2LMHeadModel"),
    "llama": ("LlamaModel", "LlamaForCausalLM"),
    "mistral": ("MistralModel", "MistralForCausalLM"),
    "qwen2": ("Qwen2Model", "Qwen2ForCausalLM"),
    "qwen3": ("Qwen3Model", "Qwen3ForCausalLM"),
    "t5": ("T5EncoderModel", "T5ForConditionalGeneration"),
    "vit": ("ViTModel", "ViTForImageClassification"),
    "deit": ("DeiTModel", "DeiTForImageClassification"),
    "dinov2": ("Dinov2Model", "Dinov2ForImageClassification"),
    "beit": ("BeitModel", "BeitForImageClassification"),
    "swin": ("SwinModel", "SwinForMaskedImageModeling"),
    "swinv2": ("Swinv2Model", "Swinv2ForImageClassification"),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2ForCTC"),
    "hubert": ("HubertModel", "HubertForCTC"),
    "generic": ("ErnieModel", "ErnieForMaskedLM"),
    "series": ("ModernBertModel", "ModernBertForMaskedLM"),
}
SPECIALS = {"vit": 1, "deit": 2, "dinov2": 1, "beit": 1}


def model(family: str, *, head: bool = False) -> Any:
    """A random model of transformers; every parameter moved off its initial value, zeros included."""
    cls = getattr(importlib.import_module("transformers"), CLASSES[family][int(head)])
    config = {k: v for k, v in families()[family].twin().items() if k != "model_type"}
    if head and family == "t5":
        config |= {"decoder_start_token_id": 0, "num_decoder_layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        made = cls(cls.config_class(**config)).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def folder(family: str, path: Path, *, head: bool = False) -> Path:
    """A checkpoint folder as transformers writes it."""
    target = path / f"{family}{'-head' if head else ''}"
    if not target.exists():
        model(family, head=head).save_pretrained(target)
    return target


def native_input(family: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    modality = families()[family].modality
    if modality == "text":
        mask = torch.ones(3, 11, dtype=torch.bool)
        mask[0, 8:] = False
        return {"input_ids": torch.randint(5, 500, (3, 11), generator=generator), "attention_mask": mask}
    if modality == "image":
        return {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}
    if modality == "series":
        return {"series_values": torch.randn(3, 1, 100, generator=generator)}
    return {"input_values": torch.randn(2, 4000, generator=generator)}


def series_tokens(witness: Any, series: Tensor) -> Tensor:
    """What the rows of the vocabulary stand for, said once more: windows of 16 every 8 samples, their values, asinh of
    these, mean and spread, one; and before them mean, spread, asinh of the extremes of the series, log of its length
    over 256 (left at 0 for series of one length), one."""
    rows = []
    for x in series[:, 0]:
        lines = []
        for start in range(0, math.ceil((len(x) - 16) / 8) * 8 + 1, 8):
            real = x[start : start + 16]
            window = torch.cat([real, torch.zeros(16 - len(real))])
            mean = real.mean()
            spread = ((window**2).sum() / len(real) - mean**2).sqrt()
            lines.append(torch.cat([window, window.asinh(), mean[None], spread[None], torch.ones(1), torch.zeros(6)]))
        whole = torch.stack([x.mean(), x.std(correction=0), x.min().asinh(), x.max().asinh(), x.new_tensor(0.0),
                             x.new_tensor(1.0)])  # fmt: skip
        rows.append(torch.stack([torch.cat([torch.zeros(35), whole]), *lines]))
    return torch.stack(rows) @ witness.get_input_embeddings().weight


@torch.no_grad()
def native_output(family: str, witness: Any, inputs: dict[str, Tensor]) -> Tensor:
    """The last hidden state of transformers' own forward, without special tokens."""
    if "series_values" in inputs:
        return witness(inputs_embeds=series_tokens(witness, inputs["series_values"])).last_hidden_state
    values = {k: v.long() if k == "attention_mask" else v for k, v in inputs.items()}
    return witness(**values).last_hidden_state[:, SPECIALS.get(family, 0) :]
