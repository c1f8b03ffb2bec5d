"""Matplotlib figures as inline SVG that follows the page: its font, its colours, light or dark.

Figures are drawn with stand-in colours (one hex code per role); on export each becomes a CSS variable of the page,
which is what makes one drawing legible on both backgrounds. Text stays text. Nothing is loaded from anywhere.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Roles of the page's palette (Okabe and Ito 2008, darkened or lightened per theme in the style sheet).
INK = "#010101"
MUTED = "#020202"
LINE = "#030303"
METHOD = "#040404"
CONTROL = "#050505"
FLOOR = "#060606"
FOURTH = "#070707"
PAPER = "#080808"
BAD = "#090909"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    METHOD: "method",
    CONTROL: "control",
    FLOOR: "floor",
    FOURTH: "fourth",
    PAPER: "card",
    BAD: "bad",
}
ROLE_COLOURS = {"method": METHOD, "control": CONTROL, "floor": FLOOR}
WIDTH = 440  # natural width in CSS pixels: full width on a phone, half a row on a desktop
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.hspace": 0.07,
    "figure.constrained_layout.wspace": 0.05,
}


@dataclass(frozen=True)
class Drawing:
    """A finished figure: the SVG, what it shows in words (for those who do not see it), and its caption."""

    name: str
    svg: Markup
    alt: str
    caption: str


@contextmanager
def canvas(height: float, *, width: float = WIDTH) -> Iterator[Figure]:
    """A figure of ``width`` x ``height`` CSS pixels in the page's style. Names are never parsed as mathematics."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")
        warnings.filterwarnings("ignore", message=r"constrained_layout not applied")
        yield Figure(figsize=(width / 72, height / 72), dpi=72)


def export(figure: Figure, name: str, alt: str, caption: str) -> Drawing:
    """The figure as inline SVG whose ids start with ``name`` (they share one document with every other figure)."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    raw = buffer.getvalue()
    body = raw[raw.index(">", raw.index("<svg")) + 1 : raw.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.S)
    body = re.sub(r"<[^>]*>", lambda tag: _tag(tag[0], name), body)
    body = re.sub(r">\s*\n\s*<", "><", body)
    width, height = (side * 72 for side in figure.get_size_inches())
    opening = (
        f'<svg class="plot" role="img" aria-label="{html.escape(alt, quote=True)}" width="{width:g}" '
        f'height="{height:g}" viewBox="0 0 {width:g} {height:g}">'
    )
    return Drawing(name, Markup(opening + body.strip() + "</svg>"), alt, caption)


def standalone(drawing: Drawing) -> str:
    """The figure as an SVG file of its own: the page's colours, light or dark, its font and its words go with it."""
    css = (files("crosstune.report") / "templates" / "report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.S)[:2]
    style = (
        f"svg{{{' '.join(light.split())}}}@media (prefers-color-scheme: dark){{svg{{{' '.join(dark.split())}}}}}"
        "text{font-family:var(--font)}"
    )
    words = f"<title>{html.escape(drawing.caption)}</title><desc>{html.escape(drawing.alt)}</desc>"
    paper = '<rect width="100%" height="100%" style="fill: var(--card)"/>'
    opening, rest = str(drawing.svg).split(">", 1)  # a plain string: Markup would escape what is put in
    opening = opening.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{opening}>{words}<style>{style}</style>{paper}{rest}\n"


def _tag(tag: str, name: str) -> str:
    """One tag, rewritten for life inside a page. Text between tags is never touched."""
    tag = re.sub(r"\s+", " ", tag) if "base64" not in tag else tag.replace("\n", "")
    tag = tag.replace("xlink:href", "href").replace('href="#', f'href="#{name}-')
    tag = re.sub(r' id="', f' id="{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r"#0[1-9]0[1-9]0[1-9]", lambda m: f"var(--{_VARIABLES[m[0]]})" if m[0] in _VARIABLES else m[0], tag)
    return tag


def bare(axes: Axes) -> None:
    """No frame and no ticks: for images."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
