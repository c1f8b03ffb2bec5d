"""What predicted source labels say about target labels: entropies, channels, LEEP, Lipschitz constants.

Conventions: nats; probs (n, K) with rows that sum to one; labels (n,) integer codes; joint laws (C, K) with target
labels as rows; channels (K, C) with one source label per row.
"""

from crosstune.information.channel import composed_predictor, label_channel, leep
from crosstune.information.clusters import ClassIndex, Clusters, class_index, cluster_targets
from crosstune.information.entropies import (
    conditional_entropy,
    entropy,
    label_entropy,
    label_floor,
    marginal_entropy,
    mutual_information,
)
from crosstune.information.hypersphere import class_alignment, uniformity
from crosstune.information.joint import joint_distribution
from crosstune.information.lipschitz import (
    LipschitzReport,
    entropy_lipschitz,
    gradient_norms,
    hinge_penalty,
    linear_head_gradient_norms,
    linear_head_lipschitz,
    secant_slopes,
    softmax_entropy_constant,
    summarise,
    support_slopes,
)
from crosstune.information.soft_labels import (
    embed_targets,
    indicator_weights,
    kernel_conditional_entropy,
    kernel_mutual_information,
    kernel_weights,
)
from crosstune.information.streaming import RunningLabelStatistics, collision_probability

__all__ = [
    "ClassIndex",
    "Clusters",
    "LipschitzReport",
    "RunningLabelStatistics",
    "class_alignment",
    "class_index",
    "cluster_targets",
    "collision_probability",
    "composed_predictor",
    "conditional_entropy",
    "embed_targets",
    "entropy",
    "entropy_lipschitz",
    "gradient_norms",
    "hinge_penalty",
    "indicator_weights",
    "joint_distribution",
    "kernel_conditional_entropy",
    "kernel_mutual_information",
    "kernel_weights",
    "label_channel",
    "label_entropy",
    "label_floor",
    "leep",
    "linear_head_gradient_norms",
    "linear_head_lipschitz",
    "marginal_entropy",
    "mutual_information",
    "secant_slopes",
    "softmax_entropy_constant",
    "summarise",
    "support_slopes",
    "uniformity",
]
