"""What the page of evidence asks, and the form of its answers."""

from __future__ import annotations

from dataclasses import dataclass

from crosstune.report.groups import ALL
from crosstune.report.paired import Relative

OURS, PLAIN, SCRATCH, UNALIGNED = "recraft", "finetune", "scratch", "no-align"
BEST_FLOOR = "best floor"
BEST_METHOD = "best method"


@dataclass(frozen=True)
class Question:
    """asks: whether ``first`` has a lower error than ``second``: each a method, the best floor or the best method."""

    key: str
    asks: str
    first: str
    second: str


QUESTIONS = (
    Question("transfer", "Does transfer beat training from scratch?", OURS, SCRATCH),
    Question("weights", "Do pretrained weights alone, without alignment, beat random ones?", UNALIGNED, SCRATCH),
    Question("alignment", "Does alignment beat no alignment at equal time?", OURS, UNALIGNED),
    Question("distortion", "Does minimising distortion beat leaving it out at equal time?", OURS, "no-distortion"),
    Question("tokens", "Does alignment beat matching means and variances only?", OURS, "mean-match"),
    Question("pretraining", "Does pretraining beat the same weights shuffled?", OURS, "shuffled"),
    Question("plain", "Does RECRAFT beat plain fine-tuning?", OURS, PLAIN),
    Question("recipe", "Does its recipe of fitting, without alignment, beat plain fine-tuning?", UNALIGNED, PLAIN),
    Question("floor", "Does RECRAFT beat the best floor?", OURS, BEST_FLOOR),
    Question("any-floor", "Does anything beat the best floor?", BEST_METHOD, BEST_FLOOR),
)


@dataclass(frozen=True)
class Answer:
    """parts: part of the tasks ("all", a share, a kind of data) -> the difference there; empty when the question was
    not measured, for the reason in ``missing``. times: mean seconds of fitting of both, over the tasks and seeds they
    share; None where the records have none."""

    question: Question
    first: str
    second: str
    parts: dict[str, Relative]
    missing: str = ""
    times: tuple[float | None, float | None] = (None, None)

    @property
    def overall(self) -> Relative | None:
        return self.parts.get(ALL)


@dataclass(frozen=True)
class Against:
    """RECRAFT against one other contestant on all tasks that both have. holm: p corrected for all of these; control:
    the other is RECRAFT with a part taken out."""

    found: Relative
    holm: float
    control: bool


@dataclass(frozen=True)
class Target:
    """A line that was set beforehand. answer: "yes", "no" or "not measured"; numbers: why."""

    line: str
    answer: str
    numbers: str
