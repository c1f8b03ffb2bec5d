"""The table of a sweep as one HTML page: offline, no scripts, figures first, then what they are worth."""

from __future__ import annotations

from importlib.resources import files

from markupsafe import Markup

from crosstune.report.analysis import Analysis
from crosstune.report.relative_words import HOW, line
from crosstune.report.sweep_views import cost, left_out_words, provenance_rows, shown_tests, spread, standing_words
from crosstune.report.templating import environment
from crosstune.report.words import energy


def render_html(found: Analysis) -> str:
    """The page, the diagram in it."""
    css = Markup((files("crosstune.report") / "templates" / "report.css").read_text(encoding="utf-8"))
    place, drawing = found.standing, None
    if place is not None:
        from crosstune.report.diagram import critical_difference_diagram

        drawing = critical_difference_diagram(place)
    return environment().get_template("sweep.html.j2").render(
        found=found, table=found.table, css=css, spread=spread, cost=cost, energy=energy, drawing=drawing, how=HOW,
        line=line, said=standing_words(place) if place is not None else [],
        tests=shown_tests(place) if place is not None else [], gaps=[left_out_words(each) for each in found.left_out],
        rows=provenance_rows(found.provenance),
    )  # fmt: skip


def render_diagram(found: Analysis) -> str:
    """The diagram as a file of its own. DataError where nothing can be ranked."""
    from crosstune.errors import DataError
    from crosstune.report import svg
    from crosstune.report.diagram import critical_difference_diagram

    if found.standing is None:
        raise DataError(
            "there is nothing to rank", cause="fewer than two contestants have figures on the same tasks",
            fix="run another method or floor into the same folder",
        )  # fmt: skip
    return svg.standalone(critical_difference_diagram(found.standing))
