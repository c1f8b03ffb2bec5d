"""A suite of two small tasks, for the tests of everything that runs suites."""

from crosstune.benchmarks import Scale, Suite

SUITE = Suite(
    name="tiny",
    title="Tiny",
    summary="two small tasks for tests",
    scales={
        "small": Scale(budget="4steps", seeds=2, generate={"*": {"n": 60}}),
        "one": Scale(budget="4steps", seeds=1, tasks=("tiny/waves",), limit={"train": 24}),
    },
)
