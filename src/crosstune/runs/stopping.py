"""The first Ctrl-C or SIGTERM asks for a checkpoint after the step at hand; the second one insists."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from crosstune.errors import Interrupted


class StopFlag:
    """The first Ctrl-C (or SIGTERM) asks; the run stops at its next step, with a checkpoint. The second one insists."""

    def __init__(self, asked: Callable[[], None] = lambda: None) -> None:
        self.raised = False
        self._asked = asked
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True
        self._asked()

    def check(self) -> None:
        if self.raised:
            raise Interrupted("interrupted", fix="continue with `crosstune resume RUN`")
