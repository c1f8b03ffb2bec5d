"""Recordings judged by the votes of their windows: the metric of the ECG task of NAS-Bench-360."""

from __future__ import annotations

from crosstune.metrics.classification import OneMinusF1


class OneMinusF1Vote(OneMinusF1):
    """A unit's class is the most common of the classes predicted for its rows, the first of several equally common."""

    name = "1-f1-vote"
    grouped, pooling = True, "votes"
    summary = (
        "1 - macro-F1 of recordings, each given the class most of its windows are given (ties: the first class); over "
        "classes that occur in target or prediction; needs units, without them every row is a recording"
    )


METRIC = OneMinusF1Vote()
