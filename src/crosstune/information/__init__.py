"""What predicted source labels say about target labels: entropies, channels, LEEP, Lipschitz constants."""

from crosstune.information.channel import composed_predictor, label_channel, leep
from crosstune.information.entropies import (
    conditional_entropy,
    entropy,
    label_entropy,
    label_floor,
    marginal_entropy,
    mutual_information,
)
from crosstune.information.joint import joint_distribution

__all__ = [
    "composed_predictor",
    "conditional_entropy",
    "entropy",
    "joint_distribution",
    "label_channel",
    "label_entropy",
    "label_floor",
    "leep",
    "marginal_entropy",
    "mutual_information",
]
