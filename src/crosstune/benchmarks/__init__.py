"""Benchmark tasks in their published file formats, with generators, protocols and published figures."""

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

__all__ = [
    "Check", "Published", "Scale", "Suite", "Task", "TaskData", "Terms", "Verification", "get_suite", "get_task",
    "published_results", "suites", "tasks",
]  # fmt: skip
