"""The template environment and the two escapes that Jinja does not have."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import jinja2
from markupsafe import Markup

from crosstune.report.words import number, seconds, span

_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)], " ")


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates. In HTML everything is escaped that is not a finished figure; Markdown escapes by filter."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("crosstune.report"),
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, seconds=seconds, md=escape_markdown, yaml=yaml_scalar)
    made.globals.update(span=span, width=_width)
    return made


def _printable(value: Any) -> Any:
    """Text without control characters, which HTML does not allow even when escaped."""
    return value.translate(_CONTROLS) if isinstance(value, str) and not isinstance(value, Markup) else value


def _width(scored: Any) -> float | None:
    return None if scored.low is None or scored.high is None else float(scored.high - scored.low)


def escape_markdown(text: Any) -> str:
    """Text that stays text in a Markdown table: no HTML, no markup, no line break, no cell break."""
    flat = " ".join(str(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", flat)


def yaml_scalar(text: Any) -> str:
    """A double-quoted YAML scalar (every JSON string is one), with no tag for a reader that takes it for HTML."""
    return json.dumps(str(text), ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e")
