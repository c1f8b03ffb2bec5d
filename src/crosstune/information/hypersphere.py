"""How well features on the unit sphere tell classes apart: alignment of one class, uniformity of all.

Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
ICML 2020, arXiv 2005.10242, with rows of one class as positive pairs. Contrastive learning minimises both terms in the
limit of many negatives. features: (n, D), brought to unit length here; labels: (n,) integer codes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_alignment(features: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance of pairs of one class, 0 to 4; 0 where no two rows share a class."""
    pairs = (labels[:, None] == labels[None]).triu(1)
    return _squares(features)[pairs].sum() / pairs.sum().clamp_min(1)


def uniformity(features: Tensor, *, t: float = 2.0) -> Tensor:
    """log of the mean over pairs of exp(-t d^2): 0 when all rows are one point, lower the better they spread. A single
    row has no pairs: 0."""
    n = len(features)
    if n < 2:
        return features.sum() * 0.0
    pairs = features.new_ones(n, n).bool().triu(1)
    return (-t * _squares(features)[pairs]).exp().mean().log()


def _squares(features: Tensor) -> Tensor:
    """Squared distances (n, n) on the sphere: 2 - 2 cos."""
    unit = F.normalize(features, dim=1)
    return (2 - 2 * unit @ unit.T).clamp_min(0)
