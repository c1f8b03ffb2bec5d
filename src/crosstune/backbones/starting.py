"""What theta needs in order to read windows of other sizes and other channels than its own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def channel_signs(width: int, channels: int) -> Tensor:
    """(width, channels) of +-1 / sqrt(channels), fixed: what binds a token's coordinates to its channel, so that a sum
    over channels can be told apart. The first channel's are all positive: one channel is read as theta reads it."""
    signs = torch.randint(0, 2, (width, channels), generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    signs[:, 0] = 1.0
    return signs / math.sqrt(channels)


def resampling(given: int, wanted: int) -> Tensor:
    """(wanted, given): the matrix that resamples a side of a window, by means where it has more values and by straight
    lines where it has fewer."""
    identity = torch.eye(given)[None]
    if given >= wanted:
        return F.interpolate(identity, size=wanted, mode="area")[0].T
    return F.interpolate(identity, size=wanted, mode="linear", align_corners=True)[0].T
