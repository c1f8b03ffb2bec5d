"""The table of a sweep and its analysis as text, CSV and Markdown. The page is in sweep_page.py."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict

from crosstune.report.analysis import Analysis, Cost, LeftOut, Standing
from crosstune.report.provenance import DECIDING, Provenance
from crosstune.report.relative_words import HOW, line, p_value
from crosstune.report.statistics import ALPHA, Friedman, PairTest
from crosstune.report.sweep import Cell, SweepTable
from crosstune.report.templating import escape_markdown
from crosstune.report.words import count, energy, listed, number, seconds

MOST_TESTS = 30  # pairs that a page spells out; more are in the CSV of `--json`


def spread(cell: Cell) -> str:
    """ "0.0123 ± 0.0004 [0.0119, 0.0127]", as much of it as there is."""
    if cell.mean is None:
        return cell.note or "none"
    text = number(cell.mean)
    if cell.sd is not None:
        text += f" ± {number(cell.sd)}"
    if cell.low is not None and cell.high is not None:
        text += f" [{number(cell.low)}, {number(cell.high)}]"
    return text


def cost(cell: Cell | Cost) -> str:
    """Time, memory and, where it was measured, energy."""
    parts = [seconds(cell.seconds)] if cell.seconds is not None else []
    if cell.peak_mib is not None:
        parts.append(f"{cell.peak_mib:,.0f} MiB")
    if cell.joules is not None:
        parts.append(energy(cell.joules))
    return ", ".join(parts)


def friedman_words(found: Friedman) -> str:
    """ "Friedman chi-squared(3) = 12.4, p = 0.006; Iman-Davenport F(3, 54) = 5.1, p = 0.003"."""
    k, n = found.contestants, found.blocks
    f = (
        "F infinite"
        if found.iman_davenport is None
        else f"F({k - 1}, {(k - 1) * (n - 1)}) = {found.iman_davenport:.2f}"
    )
    return (
        f"Friedman chi-squared({k - 1}) = {found.statistic:.2f}, {p_value(found.p)}; Iman-Davenport {f}, "
        f"{p_value(found.p_iman_davenport)}"
    )


def standing_words(found: Standing) -> list[str]:
    """What the tests say, one sentence each."""
    said = [friedman_words(found.friedman)] if found.friedman is not None else []
    if found.cd is not None:
        said.append(f"critical difference of average ranks (Nemenyi, {ALPHA:g}): {found.cd:.2f}")
    said += [f"not told apart (Wilcoxon, Holm): {listed(list(joined))}" for joined in found.cliques]
    return said


def left_out_words(found: LeftOut) -> str:
    """ "linear: failed: out of paper (suite/a and suite/b, seeds 0, 1)"."""
    seeds = ", ".join(map(str, found.seeds))
    where = f"{listed(list(found.tasks))}, seed{'s' * (len(found.seeds) != 1)} {seeds}"
    return f"{found.contestant}: {found.status}: {found.why} ({where})"


def provenance_rows(found: Provenance) -> list[tuple[str, str]]:
    """Names and values, those that are there."""
    versions = [
        f"{name} {'/'.join(found.versions[name])}"
        for name in dict.fromkeys([*DECIDING, *found.versions])
        if name in found.versions
    ]
    data = sorted({origin for origins in found.data.values() for origin in origins})
    rows = [
        ("crosstune", ", ".join(found.crosstune)),
        ("versions", ", ".join(versions)),
        ("hardware", "; ".join(found.hardware)),
        ("budget per job", ", ".join(found.budgets)),
        ("protocol", ", ".join(found.protocols)),
        ("seeds", ", ".join(map(str, found.seeds))),
        ("rows at most", "; ".join(found.limits)),
        ("settings", "; ".join(found.settings)),
        ("data", data[0] if len(data) == 1 else f"{len(data)} data sets or files, listed with --json" if data else ""),
        ("jobs", str(found.jobs)),
        ("figures, sha256", found.digest),
    ]
    return [(name, value) for name, value in rows if value]


def render_text(found: Analysis) -> str:
    """Plain text: one block per task, best first; ranks and tests; what alignment brought; gaps."""
    table = found.table
    lines = [f"protocol {table.protocol}, {table.split}; mean ± sd over seeds [95 % bootstrap interval over seeds]"]
    width = max(len(name) for name in table.contestants)
    for task in table.tasks:
        mine = [c for c in table.cells if c.task == task]
        mine.sort(key=lambda c: math.inf if c.error is None else c.error)
        lines += ["", f"{task}  ({mine[0].metric})"]
        cells = [spread(c) for c in mine]
        wide = max(len(text) for text in cells)
        for cell, text in zip(mine, cells):
            mark = "*" if cell.best else " "
            seeds = count(len(cell.seeds), "seed")
            lines.append(f"{mark} {cell.contestant:{width}}  {text:{wide}}  {seeds}  {cost(cell)}".rstrip())
    if len(table.ranks) > 1:
        costs = {c.contestant: cost(c) for c in found.costs}
        lines += ["", f"average rank over {count(len(table.ranked), 'task')}"]
        lines += [
            f"  {name:{width}}  {table.ranks[name]:.2f}  {costs.get(name, '')}".rstrip()
            for name in table.contestants
            if name in table.ranks
        ]
    if found.standing is not None:
        lines += standing_words(found.standing)
    if found.alignment:
        lines += ["", "alignment helps?", *(f"  {line(each)}" for each in found.alignment)]
        lines += [f"  {part.name}: {line(each)}" for part in found.parts for each in part.alignment]
        lines.append(f"  {HOW}")
    if table.left_out:
        lines += ["", "without a score: " + ", ".join(f"{n} {state}" for state, n in sorted(table.left_out.items()))]
        lines += [f"  {left_out_words(each)}" for each in found.left_out]
    lines += [f"note: {note}" for note in table.notes]
    return "\n".join(lines)


def render_csv(found: Analysis) -> str:
    """One line per cell; numbers in full."""
    out = io.StringIO()
    table = found.table
    writer = csv.writer(out, lineterminator="\n")
    names = [n for n in Cell.__dataclass_fields__ if n not in ("best", "note")]
    writer.writerow(["protocol", "split", *names, "best", "rank", "note"])
    for cell in table.cells:
        row = asdict(cell) | {"seeds": " ".join(map(str, cell.seeds))}
        writer.writerow([
            table.protocol, table.split, *(row[n] for n in names), cell.best, table.ranks.get(cell.contestant),
            cell.note,
        ])  # fmt: skip
    for each in found.left_out:
        for task in each.tasks:
            if table.cell(task, each.contestant) is None:
                row = dict.fromkeys(names) | {"task": task, "contestant": each.contestant}
                writer.writerow([table.protocol, table.split, *row.values(), False, None, f"{each.status}: {each.why}"])
    return out.getvalue()


def shown_tests(found: Standing) -> list[PairTest]:
    """The pairs that a page spells out: all of them, or, of many, those with the best."""
    best = found.order[0]
    return list(found.tests) if len(found.tests) <= MOST_TESTS else [t for t in found.tests if best in (t.a, t.b)]


def grid(head: Iterable[str], rows: Iterable[Iterable[str]], *, left: int = 1) -> list[str]:
    """A Markdown table, its first ``left`` columns flush left; cells are escaped by the caller."""
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' if i < left else '---:' for i in range(len(head)))}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def figures_grid(table: SweepTable) -> list[str]:
    """Tasks by contestants: mean, standard deviation and interval over seeds, the best in bold."""
    md = escape_markdown
    rows = []
    for task in table.tasks:
        metric = next(c.metric for c in table.cells if c.task == task)
        row = [f"{md(task)} ({md(metric)})"]
        for name in table.contestants:
            cell = table.cell(task, name)
            text = "\u2013" if cell is None else md(spread(cell))
            row.append(f"**{text}**" if cell is not None and cell.best else text)
        rows.append(row)
    return grid(["task", *map(md, table.contestants)], rows)


def ranks_grid(place: Standing, costs: Iterable[Cost]) -> list[str]:
    by_name = {c.contestant: c for c in costs}
    rows = []
    for name in place.order:
        c = by_name.get(name, Cost(name, None, None, None))  # the best floor of each task is no contestant of its own
        memory = "\u2013" if c.peak_mib is None else f"{c.peak_mib:,.0f} MiB"
        rows.append([escape_markdown(name), f"{place.ranks[name]:.2f}", seconds(c.seconds), memory, energy(c.joules)])
    return grid(["contestant", "average rank", "time", "peak memory", "energy"], rows)


def tests_grid(place: Standing) -> list[str]:
    rows = [
        [f"{escape_markdown(t.a)} against {escape_markdown(t.b)}", f"{t.p:.4f}", f"{t.holm:.4f}",
         "yes" if t.differ else "no"]
        for t in shown_tests(place)
    ]  # fmt: skip
    return grid(["pair", "Wilcoxon p", "Holm p", "told apart"], rows)


def render_markdown(found: Analysis, diagram: str | None = None) -> str:
    """The whole as Markdown. diagram: address of the drawing, where it was written."""
    md = escape_markdown
    table, place = found.table, found.standing
    lines = [f"# {count(len(table.tasks), 'task')}, {count(len(table.contestants), 'contestant')}", ""]
    lines += [
        f"Protocol {md(table.protocol)}, {md(table.split)} rows. Mean ± standard deviation over seeds [95 % bootstrap "
        "interval over seeds]; the best of a task in bold.", "",
    ]  # fmt: skip
    lines += figures_grid(table)
    if place is not None:
        what = f"{count(place.blocks, 'data set')} ({count(len(place.tasks), 'task')})"
        lines += ["## Ranks, costs and tests", "", f"Average rank over {what}; time, memory and energy are means.", ""]
        lines += ranks_grid(place, found.costs)
        lines += [*(f"- {md(text)}" for text in standing_words(place)), ""]
        lines += [f"![Critical-difference diagram]({diagram})", ""] if diagram else []
        lines += tests_grid(place)
    if found.alignment:
        lines += ["## Does alignment help?", "", *(f"- {md(line(each))}" for each in found.alignment)]
        lines += [f"- {md(part.name)}: {md(line(each))}" for part in found.parts for each in part.alignment]
        lines += ["", f"{md(HOW[:1].upper() + HOW[1:])}.", ""]
    if found.left_out or table.notes:
        lines += ["## Left out", "", *(f"- {md(left_out_words(each))}" for each in found.left_out)]
        lines += [*(f"- {md(note)}" for note in table.notes), ""]
    lines += ["## Where the figures come from", ""]
    lines += grid(["", ""], [[md(name), md(value)] for name, value in provenance_rows(found.provenance)], left=2)
    if found.provenance.commands:
        lines += ["```", *found.provenance.commands, "```", ""]
    return "\n".join(lines).rstrip() + "\n"
