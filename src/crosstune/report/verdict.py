"""Was it worth it? Rules that turn scores into one plain answer.

Arms in order of simplicity: floors, then controls (the method with a part taken out), then the method. What is more
elaborate has to earn its place: it is recommended only when its lead cannot be chance.

1. A floor is at least as good as the method: use that floor. If the paired interval excludes zero, "use X instead";
   if not, "no measurable gain over X, which is simpler".
2. The method is better than every floor. If the interval against the best floor excludes zero: use the method; if
   not: undecided.
3. A control that beats the method, and the best floor, by intervals that exclude zero: use that control.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from crosstune.report.scores import FEWEST_ROWS, ArmScore, Difference
from crosstune.report.words import count, listed, number, short, span

Answer = Literal["use", "use-other", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The answer to "was the transfer worth it?".

    answer: "use" the method, "use-other" (a floor or a control named in ``use``), or "undecided". headline: one plain
    sentence; sentences: what it rests on. alignment, pretraining, body: error of the control without that part minus
    error of the method (above zero: the part helped), None where the control is missing.
    """

    answer: Answer
    headline: str
    use: str | None
    sentences: tuple[str, ...]
    alignment: Difference | None = None
    pretraining: Difference | None = None
    body: Difference | None = None


@dataclass(frozen=True)
class Setting:
    """What the sentences need to know besides the scores."""

    metric: str
    direction: str
    split: str
    command: str  # the command that opens the sealed test; empty when the run has no test rows
    status: str = "complete"
    reveals: int = 0
    seeds: int = 1
    unlabelled: bool = False  # stage 1 had no labelled source data
    aligns: bool = True  # the method has a stage before fitting
    selected_on: str = "validation"
    protocol: str = "clean"

    @property
    def figure(self) -> str:
        return f"{self.split} {self.metric}"


PARTS = {
    "alignment": ("no-align", "Alignment", "the equal-time control without it"),
    "pretraining": ("scratch", "Pretraining", "the same model from random weights"),
    "body": ("frozen", "Training the body", "the same model with a frozen body"),
}


def decide(arms: tuple[ArmScore, ...], setting: Setting) -> Verdict:
    """The verdict over the arms of one split; never raises for arms that are missing, failed or tied."""
    arms = tuple(replace(a, label=short(a.label), note=a.note and short(a.note, 160)) for a in arms)
    method = next((a for a in arms if a.role == "method"), None)
    scored = [a for a in arms if a.error is not None]
    floors = [a for a in scored if a.role == "floor"]
    controls = [a for a in scored if a.role == "control"]
    best_floor = min(floors, key=_rank, default=None)
    if method is None or method.error is None:
        answer, use, headline, first = _without_method(method, scored, setting)
    elif best_floor is None:
        answer, use, headline, first = _without_floors(method, setting)
    else:
        answer, use, headline, first = _against(method, best_floor, controls, setting)
    parts = {
        part: _gain(arms, control) for part, (control, _, _) in PARTS.items() if setting.aligns or part != "alignment"
    }
    sentences = [
        *first,
        *(_part_sentence(PARTS[part], gain, arms, setting) for part, gain in parts.items()),
        *_apart(method, arms, setting),
        *_other_floors(method, best_floor, floors, setting),
        *_better_controls(method, controls, use, setting),
        *_absent(arms),
        *_held_back(floors),
        *_saved(method, answer, arms, use),
        *_circumstances(method, setting),
    ]
    return Verdict(answer, headline, use, tuple(s for s in sentences if s), **parts)


def _rank(arm: ArmScore) -> tuple[float, float]:
    """Best error first; of equal ones the cheapest."""
    assert arm.error is not None
    return arm.error, arm.seconds if arm.seconds is not None else float("inf")


def _without_method(
    method: ArmScore | None, scored: list[ArmScore], setting: Setting
) -> tuple[Answer, str | None, str, list[str]]:
    name = method.label if method else "the method"
    why = f" ({method.note})" if method and method.note else ""
    if not scored:
        return "undecided", None, f"Undecided: no arm of this run has a {setting.split} score.", []
    best = min(scored, key=_rank)
    headline = (
        f"Undecided: {name} has no {setting.split} score{why}; of what finished, {best.label} is best "
        f"({setting.figure} {number(best.value)})."
    )
    return "undecided", best.arm, headline, []


def _without_floors(method: ArmScore, setting: Setting) -> tuple[Answer, str | None, str, list[str]]:
    headline = (
        f"Undecided: no floor finished, so {method.label} ({setting.figure} {number(method.value)}) "
        "has nothing simple to be compared with."
    )
    return "undecided", method.arm, headline, []


def _against(
    method: ArmScore, floor: ArmScore, controls: list[ArmScore], setting: Setting
) -> tuple[Answer, str | None, str, list[str]]:
    assert method.error is not None
    assert floor.error is not None
    gap = floor.difference
    width = min((abs(v) for v in (gap.value if gap else 0.0, floor.error, method.error) if v), default=None)
    values = number(floor.value, width=width), number(method.value, width=width)
    versus = f"{setting.figure} {values[0]} against {values[1]} for {method.label}"
    pair = [_pair_sentence(method, floor, setting)]
    control = _winning_control(method, floor, controls)
    if control is not None:
        headline = (
            f"Use {control.label} instead: {setting.figure} {number(control.value)} against {number(method.value)} "
            f"for {method.label} and {number(floor.value)} for {floor.label}, the best floor."
        )
        return "use-other", control.arm, headline, [*pair, _pair_sentence(method, control, setting)]
    if not _leads(method, floor):
        if gap is not None and gap.method_worse:
            return "use-other", floor.arm, f"Use {floor.label} instead: {versus}.", pair
        headline = f"No measurable gain over {floor.label}, which is simpler: use it ({versus})."
        return "use-other", floor.arm, headline, pair
    ours = f"{setting.figure} {values[1]} against {values[0]} for {floor.label}, the best floor"
    if gap is not None and gap.method_better:
        return "use", method.arm, f"Use {method.label}{_credit(controls)}: {ours}.", pair
    return "undecided", method.arm, f"Undecided: {method.label} leads, but the lead could be chance ({ours}).", pair


def _credit(controls: list[ArmScore]) -> str:
    """Whose the gain over the floors is: "worth it" would credit the transfer, which the model from random weights
    must not match."""
    scratch = next((c.difference for c in controls if c.arm == "scratch"), None)
    if scratch is None or scratch.method_better:
        return ", it was worth it"
    return ", though the gain is not the pretraining's (random weights do as well)"


def _leads(method: ArmScore, other: ArmScore) -> bool:
    """The method is better on the rows both were scored on (on all its own where they cannot be paired)."""
    if other.difference is not None:
        return other.difference.value > 0
    return method.error is not None and other.error is not None and method.error < other.error


def _winning_control(method: ArmScore, floor: ArmScore, controls: list[ArmScore]) -> ArmScore | None:
    """The best control, if it beats the method by more than chance and the best floor too.

    Its lead over the floor has no interval of its own here (differences are paired with the method), so the two
    intervals against the method must not overlap: stricter than a paired interval.
    """
    best = min(controls, key=_rank, default=None)
    if best is None or best.difference is None or not best.difference.method_worse:
        return None
    gap = floor.difference
    if gap is None or gap.low is None or best.difference.high is None:
        return None
    return best if best.difference.high < gap.low else None


def _gain(arms: tuple[ArmScore, ...], control: str) -> Difference | None:
    return next((a.difference for a in arms if a.arm == control), None)


def _interval_words(difference: Difference) -> str:
    """The interval in the direction the sentence speaks of."""
    if difference.low is None or difference.high is None:
        return f"no interval from {count(difference.rows, 'row')}"
    low, high = difference.low, difference.high
    if difference.value < 0:
        low, high = -high, -low
    return f"95 % interval {span(low, high)}"


def _size(difference: Difference) -> str:
    """The difference without its sign, to the decimals of its interval."""
    known = difference.low is not None and difference.high is not None
    width = difference.high - difference.low if known else None  # type: ignore[operator]
    return number(abs(difference.value), width=width)


def _worse_better(difference: Difference) -> str:
    return "equal" if difference.value == 0 else "better" if difference.value > 0 else "worse"


def _pair_sentence(method: ArmScore, other: ArmScore, setting: Setting) -> str:
    gap = other.difference
    if gap is None:
        return f"{method.label} and {other.label} could not be paired row by row{_because(other)}."
    rows = f"On the same {count(gap.rows, f'{setting.split} row')}"
    if gap.value == 0:
        return f"{rows} {method.label} and {other.label} score the same ({_interval_words(gap)} of the difference)."
    return (
        f"{rows} the {setting.metric} of {method.label} is {_size(gap)} {_worse_better(gap)} than that of "
        f"{other.label} ({_interval_words(gap)})."
    )


def _because(arm: ArmScore) -> str:
    return f" ({arm.note})" if arm.note else ""


def _apart(method: ArmScore | None, arms: tuple[ArmScore, ...], setting: Setting) -> list[str]:
    """A method without stage 1 against the plain form of its recipe, where that was run beside it."""
    gain = _gain(arms, "no-align")
    if method is None or setting.aligns or gain is None:
        return []
    plain = "the same recipe with everything trained from pretrained weights"
    return [_part_sentence(("no-align", f"What sets {method.label} apart", plain), gain, arms, setting)]


def _part_sentence(
    part: tuple[str, str, str], gain: Difference | None, arms: tuple[ArmScore, ...], setting: Setting
) -> str:
    control, subject, against = part
    if gain is None:
        found = next((a for a in arms if a.arm == control), None)
        why = f": {found.note}" if found and found.note else ": that control was not run" if found is None else ""
        return f"What {subject[0].lower()}{subject[1:]} brought is not known{why}."
    if gain.method_better:
        effect = f"{subject} helped: {setting.metric} {_size(gain)} better than"
    elif gain.method_worse:
        effect = f"{subject} hurt: {setting.metric} {_size(gain)} worse than"
    elif gain.value == 0:
        return f"{subject} changed nothing: the same {setting.metric} as {against} ({_interval_words(gain)})."
    else:
        effect = f"{subject} brought nothing measurable: {setting.metric} {_size(gain)} {_worse_better(gain)} than"
    return f"{effect} {against} ({_interval_words(gain)})."


def _other_floors(
    method: ArmScore | None, best: ArmScore | None, floors: list[ArmScore], setting: Setting
) -> list[str]:
    """Floors that are behind on average and yet cannot be told apart from a winning method."""
    if method is None or best is None or best.difference is None or not best.difference.method_better:
        return []
    near = [a.label for a in floors if a is not best and a.difference is not None and not a.difference.method_better]
    return [f"{listed(near)} cannot be told apart from {method.label} on these rows either."] if near else []


def _better_controls(method: ArmScore | None, controls: list[ArmScore], use: str | None, setting: Setting) -> list[str]:
    """Controls that scored better than a method that is being recommended or left undecided."""
    if method is None or method.error is None:
        return []
    ahead = [a for a in controls if not _leads(method, a) and not _tied(a) and a.arm != use]
    if not ahead:
        return []
    names = listed([f"{a.label} ({number(a.value)})" for a in sorted(ahead, key=_rank)])
    return [f"Simpler variants of {method.label} scored better on {setting.split}: {names}."]


def _tied(arm: ArmScore) -> bool:
    return arm.difference is not None and arm.difference.value == 0


def _absent(arms: tuple[ArmScore, ...]) -> list[str]:
    gone = [a for a in arms if a.error is None and a.role == "floor"]
    return [f"Not in the comparison: {listed([f'{a.label}{_because(a)}' for a in gone])}."] if gone else []


def _held_back(floors: list[ArmScore]) -> list[str]:
    """Floors that could have done better with more time: said, because it flatters the method."""
    short_of_time = [f"{a.label}{_because(a)}" for a in floors if a.note and "time limit" in a.note]
    return [f"Held back by the budget, so perhaps better than shown: {listed(short_of_time)}."] if short_of_time else []


def _saved(method: ArmScore | None, answer: Answer, arms: tuple[ArmScore, ...], use: str | None) -> list[str]:
    """The folder holds the method's model whatever the verdict; say so where another arm is recommended."""
    other = next((a for a in arms if a.arm == use), None)
    if answer != "use-other" or method is None or other is None:
        return []
    return [f"The model saved in this run is that of {method.label}, not {other.label}."]


def _circumstances(method: ArmScore | None, setting: Setting) -> list[str]:
    said: list[str] = []
    if method is not None and 0 < method.rows < FEWEST_ROWS:
        said.append(
            f"{count(method.rows, f'{setting.split} row')} cannot decide anything: "
            f"at least {FEWEST_ROWS} are needed for an interval."
        )
    elif method is not None and 0 < method.rows < 30:
        said.append(f"With {method.rows} {setting.split} rows the intervals are rough.")
    if setting.seeds > 1:
        said.append(f"Figures are means over {setting.seeds} seeds; intervals resample rows with the seeds held fixed.")
    if setting.unlabelled:
        said.append(
            "There was no labelled source data: stage 1 matched mean and variance of the body's own tokens only, "
            "distortion was left out, and the bound could not be measured."
        )
    if setting.status != "complete":
        said.append(f"The run is not complete (status: {setting.status}); the figures are those of what was finished.")
    if setting.selected_on == "test":
        said.append(
            f"Protocol {setting.protocol} selects the checkpoint on the test rows: validation and test are the same "
            "rows, so every figure of a fitted model is optimistic and none is a test."
        )
    elif setting.split == "test":
        times = "once" if setting.reveals <= 1 else f"{setting.reveals} times, so it is no longer a fresh test"
        said.append(
            f"These are test rows: nothing was fitted to them or selected on them. The seal was opened {times}."
        )
    else:
        name = method.label if method else "the method"
        settle = f"The sealed test settles it: {setting.command}"
        if not setting.command:
            settle = "Rows that the run has not seen settle it: score the model on them."
        said.append(
            f"The checkpoint of {name} was selected on these same {setting.split} rows and the floors were not, so its "
            f"figure is optimistic. {settle}"
        )
    return said
