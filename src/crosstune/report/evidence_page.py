"""The page "Does it help?" in Markdown, with its drawings beside it. The same records give the same bytes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from crosstune.report import svg
from crosstune.report.diagram import critical_difference_diagram
from crosstune.report.differences import difference_forest
from crosstune.report.evidence import Case, Evidence
from crosstune.report.evidence_questions import Answer
from crosstune.report.evidence_words import NOT_MEASURED, ablation, compared, sentence, verdict
from crosstune.report.groups import ALL, FIELDS, KINDS, SHARES, share_name
from crosstune.report.paired import FEWEST_TO_DECIDE, Relative
from crosstune.report.relative_words import HOW, difference, p_value, percent, percent_interval
from crosstune.report.sweep_views import (
    figures_grid,
    grid,
    left_out_words,
    provenance_rows,
    ranks_grid,
    standing_words,
    tests_grid,
)
from crosstune.report.templating import escape_markdown as md
from crosstune.report.words import count, listed


def render_page(found: Evidence, docs: str | Path) -> dict[str, str]:
    """Path -> content of every file of the page."""
    target = Path(docs)
    texts: dict[str, str] = {}
    several = len(found.cases) > 1
    lines = _opening(found)
    for case in found.cases:
        mark = f"-{_slug(case.backbone)}" if several else ""
        lines += [f"## On {md(case.backbone)}", ""] if several else []
        lines += _answers(case, several)
        drawn = difference_forest(case.answers, f"differences{mark}")
        lines += _drawing(drawn, target, f"differences{mark}", texts)
        lines += _parts(case, several)
        lines += _targets(case, several)
        lines += _against(case, several)
        lines += _ranks(case, found, target, mark, several, texts)
    if not found.cases:
        lines += ["No transfer method has figures in these records: not measured.", ""]
    lines += _figures(found) + _cut(found) + _reading(found) + _source(found, target.name)
    texts[str(target)] = "\n".join(lines).rstrip() + "\n"
    return texts


def _opening(found: Evidence) -> list[str]:
    table, source = found.analysis.table, found.analysis.provenance
    return [
        "# Does it help?", "",
        f"Written by `crosstune bench evidence` from the records of {count(source.jobs, 'job')} and nothing else: "
        f"every sentence follows from the numbers below it. Protocol {md(table.protocol)}, {md(table.split)} rows, "
        f"{count(len(table.tasks), 'task')}, budget per job {md(listed(list(source.budgets)) or 'not recorded')}, "
        f"{count(len(source.seeds), 'seed')}. A lower error is better; intervals are of 95 %.", "",
    ]  # fmt: skip


def _heading(text: str, several: bool) -> list[str]:
    return [f"{'###' if several else '##'} {text}", ""]


def _answers(case: Case, several: bool) -> list[str]:
    lines = _heading("Answers", several)
    for answer in case.answers:
        lines.append(f"- **{md(answer.question.asks)}** {md(sentence(answer))}")
    return [*lines, ""]


def _parts(case: Case, several: bool) -> list[str]:
    """Every part of every answer, in sentences and in a table; a part that is everything stands in the table once."""
    lines = _heading("With less data, and by kind of data", several)
    for answer in case.answers:
        every = answer.overall
        rows = [
            _row(name, part)
            for name, part in answer.parts.items()
            if name == ALL or every is None or part.tasks < every.tasks
        ]
        lines += [f"**{md(answer.question.asks)}**", ""]
        lines += [*_sentences(answer), ""]
        if rows:
            lines += grid(
                ["part", "answer", "relative difference", "95 % interval", "data sets", "tasks", "won / tied / lost",
                 "p"],
                rows,
            )  # fmt: skip
    return lines


def _sentences(answer: Answer) -> list[str]:
    """By share of the training rows and by kind of data, those that were not measured too."""
    if not answer.parts:
        return [f"- {md(sentence(answer))}"]
    wanted = {f"At {share_name(share)}": share_name(share) for share in SHARES}
    wanted |= {f"On {name}": name for name in (*KINDS.values(), FIELDS) if name in answer.parts or name != "volumes"}
    said = []
    for where, name in wanted.items():
        part = answer.parts.get(name)
        measured = part is not None and part.value is not None
        said.append(
            f"- {where}: {md(f'{verdict(part)}: {compared(part)}' if measured and part else NOT_MEASURED + '.')}"
        )
    return said


def _row(name: str, each: Relative) -> list[str]:
    value = "\u2013" if each.value is None else percent(each.value)
    return [
        md(name), verdict(each), value, md(percent_interval(each.low, each.high)) or "too few data sets",
        str(each.data_sets), str(each.tasks), f"{each.win} / {each.tie} / {each.loss}",
        p_value(each.p).removeprefix("p = ").replace("p < ", "&lt; "),
    ]  # fmt: skip


def _targets(case: Case, several: bool) -> list[str]:
    rows = [[md(t.line), f"**{t.answer}**", md(t.numbers)] for t in case.targets]
    lines = [*_heading("Lines set beforehand", several), *grid(["line", "reached", "numbers"], rows, left=3)]
    why = ablation(case.against)
    return [*lines, md(why), ""] if why else lines


def _against(case: Case, several: bool) -> list[str]:
    if not case.against:
        return []
    rows = [
        [md(each.found.b), md(difference(each.found)), str(each.found.data_sets), str(each.found.tasks),
         f"{each.found.win} / {each.found.tie} / {each.found.loss}", md(p_value(each.found.p).removeprefix("p = ")),
         md(p_value(each.holm).removeprefix("p = "))]
        for each in case.against
    ]  # fmt: skip
    return [
        *_heading("RECRAFT against each", several),
        *grid(["against", "relative difference", "data sets", "tasks", "won / tied / lost", "p", "Holm p"], rows),
    ]


def _ranks(case: Case, found: Evidence, target: Path, mark: str, several: bool, texts: dict[str, str]) -> list[str]:
    lines = _heading("Ranks, tests and costs", several)
    if case.ranks is None:
        return [*lines, "Not measured: fewer than two contestants have figures on the same tasks.", ""]
    place = case.ranks
    lines += [
        f"Over {count(place.blocks, 'data set')} ({count(len(place.tasks), 'task')}) on which all of these have a "
        "figure. Costs are means over tasks and seeds; energy is that of the whole machine or device while a job ran, "
        "and absent where the machine does not tell.", "",
    ]  # fmt: skip
    lines += ranks_grid(place, found.analysis.costs)
    lines += _drawing(critical_difference_diagram(place, f"ranks{mark}"), target, f"ranks{mark}", texts)
    return [*lines, *(f"- {md(text)}" for text in standing_words(place)), "", *tests_grid(place)]


def _drawing(drawn: svg.Drawing | None, target: Path, name: str, texts: dict[str, str]) -> list[str]:
    if drawn is None:
        return []
    file = target.with_name(f"{target.stem}-{name}.svg")
    texts[str(file)] = svg.standalone(drawn)
    return [f"![{md(drawn.alt)}]({file.name})", "", f"*{md(drawn.caption)}*", ""]


def _figures(found: Evidence) -> list[str]:
    lines = [
        "## Every figure", "",
        "Mean ± standard deviation over seeds [95 % bootstrap interval over seeds, from three on]; the best of a task "
        "in bold.", "",
    ]  # fmt: skip
    lines += figures_grid(found.analysis.table)
    if found.floors:
        how = "on the rows that are compared, with hindsight" if found.by_hindsight else "on validation rows"
        by_floor: dict[str, list[str]] = {}
        for task, floor in sorted(found.floors.items()):
            by_floor.setdefault(floor, []).append(task.split("/")[-1])
        lines += [f"The best floor of each task, chosen {how}:", ""]
        lines += [*(f"- {md(floor)}: {md(', '.join(tasks))}" for floor, tasks in sorted(by_floor.items())), ""]
    else:
        lines += ["Floors: not measured.", ""]
    return lines


def _cut(found: Evidence) -> list[str]:
    lines = ["## What was cut", "", *(f"- {md(text)}" for text in found.cut)]
    lines += [f"- {md(note[:1].upper() + note[1:])}." for note in found.analysis.table.notes]
    if found.analysis.left_out:
        lines += ["", "Jobs without a figure:", ""]
        lines += [f"- {md(left_out_words(each))}" for each in found.analysis.left_out]
    else:
        lines += ["- No job was left without a figure."]
    return [*lines, ""]


def _reading(found: Evidence) -> list[str]:
    chosen = "on the compared rows (with hindsight)" if found.by_hindsight else "on its validation rows"
    return [
        "## How to read this", "",
        f"- {md(HOW[:1].upper() + HOW[1:])}.",
        f"- Yes or no: the interval, over {FEWEST_TO_DECIDE} data sets or more, excludes zero; not decided otherwise. "
        "Intervals and p in the tables of parts, and tasks won and lost, are not corrected for their number.",
        "- Intervals take the data sets as a sample of others like them; the rows of each test are held fixed.",
        f"- The best floor and the best method of a task are those with the least mean error {chosen}.",
        "- p: Wilcoxon signed-rank test over data sets.", "",
    ]  # fmt: skip


def _source(found: Evidence, name: str) -> list[str]:
    source = found.analysis.provenance
    lines = ["## Where the figures come from", ""]
    lines += grid(["what", "found"], [[md(what), md(value)] for what, value in provenance_rows(source)], left=2)
    places = [command.rpartition(" --out ")[2] for command in source.commands]
    lines += ["To measure again, and to write this page again:", "", "```"]
    lines += source.commands or ["(the sweeps do not say how they were asked for: no sweep.json)"]
    outs = list(dict.fromkeys(places)) or ["OUT"]
    lines += [f"crosstune bench evidence {' '.join(outs)} --docs {shlex.quote(name)}", "```", ""]
    return lines


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "body"
