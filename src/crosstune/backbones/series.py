"""Series encoders: ModernBERT's layers, with windows of a series where words would enter.

The folder is that of an ordinary ModernBERT, and ``AutoModel.from_pretrained`` gives its body. Its "vocabulary" is
theta: one row for each feature of a window or of the whole series, so that a token is the sum of rows weighted by
features.
``config.json`` says so under the key ``crosstune``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from crosstune.backbones.contract import Body, Family, Native, Source
from crosstune.backbones.sequence import SequenceBody
from crosstune.backbones.starting import channel_signs, resampling
from crosstune.backbones.transformers_io import load_model, plain_config
from crosstune.nn.embedders import PatchEmbedder
from crosstune.nn.patching import PatchPlan

WINDOW, STRIDE, LENGTH = 16, 8, 256  # samples
MARK = "crosstune"


class SeriesSource(Source):
    """theta: series (n, 1, L) of zero mean and unit spread to one token of statistics and a token per window of
    ``WINDOW`` samples every ``STRIDE``; see ``PatchEmbedder`` for what they hold. Tokens (n, T, width)."""

    def __init__(self, width: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        self.embedder = PatchEmbedder(1, PatchPlan((LENGTH,), (WINDOW,), (STRIDE,)), width, generator=generator)
        self.embedder.positions = nn.ParameterList([torch.zeros(width, 1)])  # the body's own are rotary
        self.embedder.positions.requires_grad_(False)
        self.native = Native("series", channels=1, size=(1, LENGTH))

    def forward(self, series: Tensor) -> Tensor:
        return self.embedder(series)[0]

    def grid_of(self, tokens: Tensor) -> tuple[int, ...]:
        return (tokens.shape[1] - 1,)

    def table(self) -> Tensor:
        """theta as rows of a vocabulary: the features of windows, their bias, those of statistics, their bias;
        (rows, width)."""
        e = self.embedder
        parts = [e.weight.T, e.bias[None], e.statistics_weight.T, e.statistics_bias[None]]
        return torch.cat([part.detach() for part in parts])

    @torch.no_grad()
    def read_table(self, table: Tensor) -> None:
        """The inverse of ``table``; ValueError for another number of rows."""
        e = self.embedder
        counts = [e.features, 1, e.statistics, 1]
        if table.shape != (sum(counts), e.width):
            raise ValueError(f"theta of a series encoder has {sum(counts)} rows of {e.width}, not {tuple(table.shape)}")
        weight, bias, statistics, last = table.split(counts)
        e.weight.copy_(weight.T)
        e.bias.copy_(bias[0])
        e.statistics_weight.copy_(statistics.T)
        e.statistics_bias.copy_(last[0])

    @torch.no_grad()
    def start(self, embedder: PatchEmbedder) -> None:
        """Set an embedder of series to what theta does, in place: its windows are read as theta's, resampled to
        ``WINDOW`` values. One channel: exactly theta's weights. Several: the mean over channels of theta's tokens, each
        with signs of its own for their coordinates (the first with none), so that channels can be told apart."""
        own, channels = self.embedder, embedder.channels
        resample = resampling(math.prod(w // embedder.plan.pool for w in embedder.plan.window), WINDOW)
        values, compressed, mean, spread_of = own.weight.split([WINDOW, WINDOW, 1, 1], dim=1)
        signs = channel_signs(own.width, channels)

        def spread(part: Tensor) -> Tensor:
            """(width, values) of one channel to (width, C * values)."""
            return (signs[:, :, None] * part[:, None, :]).flatten(1)

        whole = torch.cat([spread(part) for part in (values @ resample, compressed @ resample, mean, spread_of)], dim=1)
        moments = [spread(own.statistics_weight[:, k : k + 1]) for k in range(4)]
        embedder.weight.copy_(whole)
        embedder.statistics_weight.copy_(torch.cat([*moments, own.statistics_weight[:, 4:]], dim=1))
        embedder.bias.copy_(own.bias)
        embedder.statistics_bias.copy_(own.statistics_bias)
        for positions in embedder.positions:
            positions.zero_()
        embedder.scale.fill_(1.0)


def _build(config: dict[str, Any]) -> Body:
    return SequenceBody("series", "ModernBertModel", config, {})


def _load(folder: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Body, nn.Module]:
    import transformers

    model = load_model(transformers.ModernBertModel, folder, config, tensors)
    body = _build(plain_config(model.config))
    kept = set(body.model.state_dict())
    body.model.load_state_dict({k: v for k, v in model.state_dict().items() if k in kept}, strict=True)
    source = SeriesSource(body.width)
    source.read_table(model.get_input_embeddings().weight)
    return body, source


def _source(config: dict[str, Any], body: Body) -> nn.Module:
    seed = int(torch.randint(2**31, ()))
    return SeriesSource(body.width, generator=torch.Generator().manual_seed(seed))


def settings(width: int, layers: int, heads: int, inner: int) -> dict[str, Any]:
    """ModernBERT's configuration for a series encoder: every layer attends to everything, positions turn fast enough
    for hundreds of tokens instead of thousands."""
    features = 2 * WINDOW + 2 + 1 + 5 + 1
    return {
        "model_type": "modernbert", "vocab_size": features, "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": inner, "max_position_embeddings": 1024,
        "pad_token_id": None, "bos_token_id": None, "eos_token_id": None, "cls_token_id": None, "sep_token_id": None,
        "initializer_range": 0.05,  # narrow layers: ModernBERT's 0.02 is for 768 and leaves them next to nothing
        "layer_types": ["full_attention"] * layers,
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1000.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}},
        MARK: {"family": "series", "window": WINDOW, "stride": STRIDE},
    }  # fmt: skip


def _twin() -> dict[str, Any]:
    return settings(32, 2, 2, 48)


FAMILY = Family(
    name="series", model_types=(), modality="series", summary="series encoder, rotary positions (tiny-sequence)",
    build=_build, load=_load, twin=_twin, source=_source,
)  # fmt: skip
