"""The metric of the OpenML tables."""

from __future__ import annotations

import numpy as np

from crosstune.metrics.classification import OneMinusAurocOvo
from crosstune.metrics.ranking import auroc, pairwise_auroc


class OneMinusAuc(OneMinusAurocOvo):
    """Two classes: of the probability of the second alone. More: the mean over pairs of classes (Hand and Till, 2001),
    which is scikit-learn's one-vs-one macro average."""

    name = "1-auc"
    summary = (
        "1 - area under the ROC curve: of the second of two classes, or averaged over the pairs of those present; "
        "needs two classes in the target"
    )

    def finish(self, *kept: np.ndarray) -> float:
        score, codes = kept
        return 1 - (auroc(score[:, 1], codes == 1) if score.shape[1] == 2 else pairwise_auroc(score, codes))


METRIC = OneMinusAuc()
