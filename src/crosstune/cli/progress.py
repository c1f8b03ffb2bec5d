"""What a person sees while a run goes on: a live line on a terminal, a few plain lines otherwise. All on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from crosstune import cli


class Progress:
    """Callable with the run's events. ``budget``: seconds, for the bar; None when the budget is in steps."""

    def __init__(self, budget: float | None, *, quiet: bool = False) -> None:
        self.budget, self.quiet = budget, quiet
        self.live: Any = None
        self.task: Any = None
        self._text = ""
        self._last = 0.0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not self.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            self.live = Bars(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[right]}"), TimeElapsedColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.live.start()
            self.task = self.live.add_task("starting", total=1.0, right="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def line(self, text: str) -> None:
        if self.quiet:
            return
        if self.live is not None:
            self.live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def __call__(self, *, kind: str, progress: float | None = None, **values: Any) -> None:
        elapsed = time.monotonic() - cli.STARTED
        if kind == "floor":
            score = values.get("score")
            figure = (
                f"{values['metric']} {score:.4f}"
                if score is not None
                else f"{values['status']}: {values.get('note', '')}"
            )
            self.line(f"{elapsed:6.1f}s  floor    {values['label']}: {figure}")
        elif kind == "arm":
            self.line(
                f"{elapsed:6.1f}s  model    {values['label']} (seed {values['seed']}): {values['metric']} "
                f"{values['score']:.4f} on validation, {values['seconds']:.0f} s, stopped by {values['stopped_by']}"
            )
        elif kind == "bound":
            terms = values["terms"]
            self.line(
                f"{elapsed:6.1f}s  bound    {values['stage']}: err_s {_term(terms, 'err_s')} "
                f"+ tau*W1 {_term(terms, 'alignment')} + H(z'|z) {_term(terms, 'distortion')} "
                f"= {_term(terms, 'bound')} nats; -LEEP {_term(terms, 'neg_leep')}"
            )
        elif kind == "message" and values.get("text") != "complete":
            self.line(f"{elapsed:6.1f}s  {values['text']}")
        elif kind == "stage":
            for note in values["report"].get("notes", ()):
                self.line(f"{elapsed:6.1f}s  note     {note}")
        if kind in ("step", "validation"):
            if kind == "validation":
                self._text = f"validation {values['score']:.4f}"
            self._show(f"{values['arm']}: {values['stage']} step {values['step']}", self._text, elapsed)
        elif kind in ("arm-start", "waiting"):
            self._text = ""
            self._show(values.get("label") or values.get("text", ""), "", elapsed)

    def share(self, done: float, what: str = "predicting") -> None:
        """A plain share of known work, 0 to 1."""
        if self.live is not None:
            self.live.update(self.task, description=what, completed=done)

    def training(self, step: int, total: int, loss: float) -> None:
        """A step of a training whose number of steps is known: live on a terminal, else a line for every tenth."""
        text = f"step {step:,} of {total:,}, loss {loss:.3f}"
        if self.live is not None:
            self.share(step / total, text)
        elif step * 10 // total != (step - 1) * 10 // total:
            self.line(f"{time.monotonic() - cli.STARTED:6.1f}s  {text}")

    def _show(self, left: str, right: str, elapsed: float) -> None:
        if self.live is None or time.monotonic() - self._last < 0.1:
            return
        self._last = time.monotonic()
        done = min(1.0, elapsed / self.budget) if self.budget else None
        self.live.update(self.task, description=left, right=right, completed=done or 0.0)


def _term(terms: dict[str, Any], name: str) -> str:
    term = terms.get(name)
    return "n/a" if not term else f"{term['value']:.3f}"
