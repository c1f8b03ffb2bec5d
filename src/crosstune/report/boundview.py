"""The bound as a table and as warnings in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crosstune.report.figures import STAGE_LABELS
from crosstune.report.summary import BoundStage
from crosstune.report.words import figure, listed, number

BOUND_TERMS = (
    ("err_s", "err_s", "source error, fixed after stage 0"),
    ("tau", "\u03c4", "Lipschitz constant of the source loss"),
    ("w1", "W1", "Wasserstein-1 distance of source and target features"),
    ("alignment", "\u03c4\u00b7W1", "alignment term"),
    ("distortion", "H(z\u2032|z)", "feature-label distortion"),
    ("bound", "bound", "err_s + \u03c4\u00b7W1 + H(z\u2032|z)"),
    ("neg_leep", "\u2212LEEP", "error of the transferred source predictor"),
    ("err_t", "err_t", "measured target error"),
    ("slack", "slack", "bound minus err_t; before there is a fitted model, minus \u2212LEEP"),
    ("floor", "floor of H(z\u2032|z)", "H(z\u2032) \u2212 log K: what few source classes leave at least"),
    ("fitting", "fitting excess", "err_t minus \u2212LEEP: what fitting gained where it is negative"),
    ("predictor_entropy", "E_t[H(p_s)]", "entropy of the source predictor on the target"),
    ("source_entropy", "E_s[H(p_s)]", "entropy of the source predictor on the source"),
    ("tau_head", "\u03c4 of the head", "slope of the source loss at the head alone"),
    ("spread_ratio", "spread", "target spread over source spread; below 0.5 the target cloud has contracted"),
    ("self_distance", "self-distance", "W1 between two halves of the source: what sampling alone gives"),
)
CONTRACTED = 0.5


def bound_table(stages: Sequence[BoundStage]) -> dict[str, Any]:
    """Terms down, checkpoints across; terms without a name here are shown under their own."""
    if not stages:
        return {"columns": [], "rows": []}
    several = len({s.seed for s in stages}) > 1
    columns = [STAGE_LABELS.get(s.stage, s.stage) + (f", seed {s.seed}" if several else "") for s in stages]
    named = {key for key, _, _ in BOUND_TERMS}
    others = dict.fromkeys(key for s in stages for key in s.terms if key not in named)
    rows = []
    for key, symbol, meaning in (*BOUND_TERMS, *((key, key, "") for key in others)):
        terms = [s.terms.get(key) for s in stages]
        if any(term is not None for term in terms):
            cells = [
                None if t is None else _cell(*figure(t), bad=key == "spread_ratio" and t.value < CONTRACTED)
                for t in terms
            ]
            rows.append({"symbol": symbol, "meaning": meaning, "cells": cells})
    if any(s.certified is not None for s in stages):
        meaning = "err_s is at least E_s[H(p_s)], so that the bound is a guarantee and not an estimate"
        rows.append({"symbol": "certified", "meaning": meaning, "cells": [_yes_no(s.certified) for s in stages]})
    meaning = "every transport problem of this checkpoint"
    rows.append({"symbol": "converged", "meaning": meaning, "cells": [_yes_no(s.converged) for s in stages]})
    return {"columns": columns, "rows": rows}


def _cell(value: str, interval: str = "", *, bad: bool = False) -> dict[str, Any]:
    return {"value": value, "interval": interval, "bad": bad}


def _yes_no(answer: bool | None) -> dict[str, Any]:
    return _cell("not recorded" if answer is None else "yes" if answer else "no", bad=answer is False)


def bound_notes(stages: Sequence[BoundStage]) -> list[str]:
    """Warnings about the bound, each said once with the checkpoints it holds for."""
    said: dict[str, list[str]] = {}
    spread = []
    for s in stages:
        name = STAGE_LABELS.get(s.stage, s.stage)
        ratio, slack = s.terms.get("spread_ratio"), s.terms.get("slack")
        if ratio is not None and ratio.value < CONTRACTED:
            spread.append(f"{number(ratio.value)} {name}")
        if s.converged is False:
            said.setdefault("a transport problem did not converge; its W1 is not to be relied on.", []).append(name)
        if slack is not None and slack.value < 0:
            text = (
                "err_t exceeds the bound. The bound holds for the source predictor carried over; a fitted model that "
                "is worse has a positive fitting excess."
            )
            said.setdefault(text, []).append(name)
        for note in s.notes:
            if "contracted" not in note or ratio is None or ratio.value >= CONTRACTED:
                said.setdefault(note, []).append(name)
    notes = []
    if spread:
        notes.append(
            "The target cloud is contracted: its spread over that of the source is "
            f"{listed(list(dict.fromkeys(spread)))}. Below {CONTRACTED} a small W1 may come from collapse, not from "
            "alignment."
        )
    for text, names in said.items():
        where = listed(list(dict.fromkeys(names)))
        notes.append(f"{where[0].upper()}{where[1:]}: {text}")
    return notes
