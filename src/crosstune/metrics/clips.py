"""Clips judged by all of their crops: the metric of the FSD50K task of NAS-Bench-360."""

from __future__ import annotations

from crosstune.metrics.multilabel import OneMinusMap


class OneMinusMapClips(OneMinusMap):
    """Crops are averaged as logits and made probabilities afterwards; the mean of probabilities ranks otherwise.

    Predictions are probabilities, whose logits are finite up to 36 in size: what float64 can tell from 0 and 1.
    """

    name = "1-map-clips"
    grouped, pooling = True, "logits"
    summary = (
        "1 - mean average precision of clips, the logits of whose crops are averaged; labels without a positive clip "
        "are left out; needs units, without them every row is a clip"
    )


METRIC = OneMinusMapClips()
