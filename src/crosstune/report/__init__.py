"""Reports: read a run folder, say whether the transfer was worth it, draw it. Imports neither torch nor methods.

>>> from crosstune import report
>>> summary = report.summarise("runs/d")        # doctest: +SKIP
>>> print(report.render_text(summary))          # doctest: +SKIP
>>> report.write_html("runs/d")                 # doctest: +SKIP
"""

from __future__ import annotations

from crosstune.report.card import model_card
from crosstune.report.page import write_html
from crosstune.report.record import Arm, Prediction, RunRecord, read_run
from crosstune.report.scores import ArmScore, Difference
from crosstune.report.summary import BoundStage, Summary, Term, summarise
from crosstune.report.text import render_text
from crosstune.report.verdict import Verdict

__all__ = [
    "Arm",
    "ArmScore",
    "BoundStage",
    "Difference",
    "Prediction",
    "RunRecord",
    "Summary",
    "Term",
    "Verdict",
    "model_card",
    "read_run",
    "render_text",
    "summarise",
    "write_html",
]
