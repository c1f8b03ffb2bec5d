"""A leaderboard as text, Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
from importlib.resources import files

from markupsafe import Markup

from crosstune.report.leaderboard import Board, Entry, Leaderboard
from crosstune.report.templating import environment, escape_markdown
from crosstune.report.words import number, seconds, span


def figure(entry: Entry) -> str:
    """ "0.123 ± 0.004": the spread is over seeds for our lines, as published (of unstated kind) for others."""
    if entry.spread is None:
        return number(entry.value)
    return f"{number(entry.value)} ± {number(entry.spread)}"


def origin(entry: Entry) -> str:
    """Where a line comes from."""
    if not entry.ours:
        return f"published, {entry.protocol}"
    return f"{entry.seeds} seed{'s' * (entry.seeds != 1)}, {entry.source}"


def heading(board: Board) -> str:
    return f"{board.metric}, {board.direction} is better, {board.split} rows"


def shared_reasons(board: Board) -> tuple[str, ...]:
    """What speaks against every published figure of a board, said once; nothing where there is one figure only."""
    published = [e.reasons for e in board.entries if not e.ours]
    return tuple(r for r in published[0] if all(r in others for others in published)) if len(published) > 1 else ()


def render_text(found: Leaderboard) -> str:
    """Plain text: boards by protocol, lines that may not be compared below the others with the reason, then ranks."""
    lines: list[str] = []
    protocol = None
    for board in found.boards:
        if board.protocol != protocol:
            protocol = board.protocol
            lines += ["" if lines else None, f"PROTOCOL {protocol}"]  # type: ignore[list-item]
        lines += ["", f"{board.title}  ({heading(board)})"]
        width = max(len(e.contestant) for e in board.entries)
        wide = max(len(figure(e)) for e in board.entries)
        shared = shared_reasons(board)
        if shared:
            lines.append(f"  no published figure compares: {'; '.join(shared)}")
        for e in board.entries:
            mark = "*" if e.best else "-" if e.reasons else " "
            own = [reason for reason in e.reasons if reason not in shared]
            last = f"not comparable: {'; '.join(own)}" if own else origin(e)
            took = f", {seconds(e.seconds)}" if e.seconds is not None else ""
            lines.append(f"{mark} {e.contestant:{width}}  {figure(e):{wide}}  {last}{took}")
    for name, ranks in found.ranks.items():
        count = len(found.ranked[name])
        lines += ["", f"average rank, protocol {name}, over {count} task{'s' * (count != 1)}"]
        width = max(len(contestant) for contestant in ranks)
        lines += [f"  {contestant:{width}}  {rank:.2f}" for contestant, rank in ranks.items()]
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    return "\n".join(line for line in lines if line is not None)


def render_markdown(found: Leaderboard) -> str:
    """One table per protocol, and one of average ranks."""
    md = escape_markdown
    lines: list[str] = []
    for protocol in dict.fromkeys(board.protocol for board in found.boards):
        lines += [f"## Protocol {md(protocol)}", ""]
        lines += ["| task | metric | contestant | figure | interval over rows | from | compared |"]
        lines += ["|---|---|---|---:|---|---|---|"]
        for board in (b for b in found.boards if b.protocol == protocol):
            for e in board.entries:
                name = f"**{md(e.contestant)}**" if e.best else md(e.contestant)
                cells = (
                    md(board.title), md(heading(board)), name, figure(e), span(e.low, e.high), md(origin(e)),
                    md("; ".join(f"no: {reason}" if i == 0 else reason for i, reason in enumerate(e.reasons)) or "yes"),
                )  # fmt: skip
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
        if protocol in found.ranks:
            tasks = ", ".join(map(md, found.ranked[protocol]))
            lines += [f"Average rank over {tasks}:", "", "| contestant | rank |", "|---|---:|"]
            lines += [f"| {md(name)} | {rank:.2f} |" for name, rank in found.ranks[protocol].items()] + [""]
    lines += [f"- {md(note)}" for note in found.notes]
    return "\n".join(lines).rstrip() + "\n"


COLUMNS = (
    "protocol", "task", "metric", "direction", "split", "contestant", "ours", "value", "spread", "low", "high", "seeds",
    "seconds", "comparable", "reasons", "line_protocol", "source", "rank",
)  # fmt: skip


def render_csv(found: Leaderboard) -> str:
    """One line per entry; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for board in found.boards:
        ranks = found.ranks.get(board.protocol, {})
        for e in board.entries:
            writer.writerow([
                board.protocol, board.task, board.metric, board.direction, board.split, e.contestant, e.ours, e.value,
                e.spread, e.low, e.high, e.seeds, e.seconds, e.comparable, "; ".join(e.reasons), e.protocol, e.source,
                ranks.get(e.contestant) if e.comparable else None,
            ])  # fmt: skip
    return out.getvalue()


def render_html(found: Leaderboard) -> str:
    """One page, offline, no scripts."""
    css = Markup((files("crosstune.report") / "templates" / "report.css").read_text(encoding="utf-8"))
    template = environment().get_template("leaderboard.html.j2")
    protocols = list(dict.fromkeys(board.protocol for board in found.boards))
    return template.render(found=found, protocols=protocols, css=css, figure=figure, origin=origin, heading=heading)
