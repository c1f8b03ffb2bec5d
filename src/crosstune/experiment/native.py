"""From a proxy's examples to what theta takes: token ids, normalised pixels, waves, series; or noise instead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.backbones import Backbone
from crosstune.backbones.contract import Native
from crosstune.data.proxies import AudioProxy, ImageProxy, Proxy, SeriesProxy, TextProxy, Wanted

AUDIO_SECONDS = 1.0


def wanted(backbone: Backbone, rows: int) -> Wanted:
    """What the body can take: images and series of its own size, one second of sound at its own rate."""
    native = backbone.native
    return Wanted(rows=rows, size=native.size, rate=native.rate, samples=round(AUDIO_SECONDS * native.rate))


def native_inputs(backbone: Backbone, proxy: Proxy, *, tokens: int) -> dict[str, Tensor]:
    """Every example of the proxy as native input. tokens: length of texts, in tokens."""
    if isinstance(proxy, ImageProxy):
        return {"pixel_values": normalised_images(torch.from_numpy(proxy.images), backbone.native)}
    if isinstance(proxy, AudioProxy):
        return {"input_values": normalised_waves(torch.from_numpy(proxy.waves))}
    if isinstance(proxy, SeriesProxy):
        series = torch.from_numpy(proxy.series)
        return {"series_values": normalised_waves(series.flatten(1)).view_as(series)}
    return backbone.encode(proxy.passages, max_tokens=tokens)


def normalised_images(images: Tensor, native: Native) -> Tensor:
    """uint8 (n, 3, H, W) to float (n, channels, H, W): shares of full brightness, minus the mean over the spread that
    the model's image processor states (0.5 and 0.5 where it states none). One channel: the mean of three; more than
    three: the three in turn."""
    x = images.float() / 255
    if native.channels == 1:
        x = x.mean(1, keepdim=True)
    elif native.channels != 3:
        x = x[:, torch.arange(native.channels) % 3]
    mean, std = torch.tensor(native.mean), torch.tensor(native.std)
    return (x - mean[:, None, None]) / std[:, None, None].clamp_min(1e-6)


def normalised_waves(waves: Tensor) -> Tensor:
    """(n, L) to zero mean and unit variance per wave, as the feature extractors of audio models do."""
    centred = waves - waves.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()


@torch.no_grad()
def tokens_in_batches(
    backbone: Backbone, proxy: Proxy, *, tokens: int, batch_size: int = 64
) -> Iterator[tuple[Tensor, Tensor, tuple[int, ...]]]:
    """theta's tokens (b, T, D), their mask and grid, a few examples at a time."""
    device = next(iter(backbone.source.parameters())).device
    # pixels are made as they are needed: all at once they would take four times the memory of the pictures
    whole = native_inputs(backbone, proxy, tokens=tokens) if isinstance(proxy, TextProxy) else None
    for start in range(0, len(proxy), batch_size):
        rows = np.arange(start, min(len(proxy), start + batch_size))
        if whole is None:
            some = native_inputs(backbone, proxy.take(rows), tokens=tokens)
        else:
            some = {name: values[rows] for name, values in whole.items()}
        yield backbone.source_tokens({name: values.to(device) for name, values in some.items()})


@torch.no_grad()
def typical_tokens(backbone: Backbone, *, most: int, seed: int = 0) -> Tensor:
    """What theta gives on average when there are no examples, (p, D) with at most ``most`` entries: the rows of its
    embedding table, or its tokens of noise.

    The noise is that of natural images and sounds on average: power falling with frequency, here octaves of one
    strength (Field, JOSA A 1987; Voss & Clarke, Nature 1975), zero mean and unit variance.
    """
    generator = torch.Generator().manual_seed(seed)
    source = backbone.source
    if isinstance(source, nn.Embedding):
        table = source.weight.detach()
        order = torch.randperm(len(table), generator=generator)
        return table[order[: max(2, most // table.shape[1])]]
    device = next(iter(source.parameters())).device
    values = noise(backbone.native, 64, generator)
    name = {"image": "pixel_values", "series": "series_values"}.get(backbone.modality, "input_values")
    parts, count = [], 0
    for some in values.split(8):
        tokens, _, _ = backbone.source_tokens({name: some.to(device)})
        parts.append(tokens.flatten(0, 1))
        count += parts[-1].numel()
        if count >= most:
            break
    points = torch.cat(parts)
    order = torch.randperm(len(points), generator=generator)
    return points[order[: max(2, most // points.shape[1])]]


def noise(native: Native, count: int, generator: torch.Generator) -> Tensor:
    """``count`` native inputs of noise in octaves of equal variance, each input of zero mean and unit variance."""
    image, audio = native.modality == "image", native.modality == "audio"
    shape: tuple[int, ...] = (native.rate,) if audio else native.size if image else native.size[1:]
    mode = "bilinear" if image else "linear"
    total = torch.zeros(count, 1 if audio else native.channels, *shape)
    cells = 2
    while cells <= min(shape):
        coarse = torch.randn(*total.shape[:2], *(min(cells, side) for side in shape), generator=generator)
        total += F.interpolate(coarse, size=shape, mode=mode, align_corners=False)
        cells *= 2
    flat = total.flatten(1)
    total = ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)).view_as(total)
    return total[:, 0] if audio else total
