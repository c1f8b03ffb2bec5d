"""Benchmark tasks in their published file formats, with generators, protocols and published figures.

Suites of your own: folders named in CROSSTUNE_SUITES (several, separated as in PATH), each holding packages that
define ``SUITE`` beside modules that define ``TASK``, are found like those that are shipped.
"""

import os

from crosstune.benchmarks.contract import (
    Check,
    Published,
    Scale,
    Suite,
    Task,
    TaskData,
    Terms,
    Verification,
    get_suite,
    get_task,
    published_results,
    suites,
    tasks,
)

__path__ += [folder for folder in os.environ.get("CROSSTUNE_SUITES", "").split(os.pathsep) if folder]

__all__ = [
    "Check", "Published", "Scale", "Suite", "Task", "TaskData", "Terms", "Verification", "get_suite", "get_task",
    "published_results", "suites", "tasks",
]  # fmt: skip
