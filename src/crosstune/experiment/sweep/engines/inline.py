"""Jobs one after another in this very process: for a debugger, and where processes cannot be started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from crosstune.experiment.sweep.engines.contract import Outcome, Place
from crosstune.experiment.sweep.engines.outcome import attempt
from crosstune.experiment.sweep.jobs import Job


class InlineEngine:
    name = "inline"
    summary = "one job after another in this process"
    options: tuple[str, ...] = ()
    elsewhere = False

    def ready(self, options: Mapping[str, str]) -> None:
        """Always."""

    def run(self, jobs: Sequence[Job], place: Place, finished: Callable[[Outcome], None]) -> None:
        for job in jobs:
            if place.stop.is_set():
                return
            place.say(job.label)
            outcome = attempt(job, place.out, opens_test=place.opens_test)
            finished(outcome)
            if outcome.state == "interrupted":
                place.stop.set()


ENGINE = InlineEngine()
