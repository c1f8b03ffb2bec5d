"""Drug response of cancer cell lines (CTRP and GDSC), as ORCA ships it: two files of features and labels per part.

The arrays cannot be downloaded from the public repositories, and how their 3,840 features are composed is not
documented there; stand-ins have the same layout.
"""

from crosstune.benchmarks.contract import Scale, Suite

SUITE = Suite(
    name="drug_response",
    title="Drug response",
    summary="response of cancer cell lines to drugs from 3,840 features of both; CTRP and GDSC, scored by 1 - R2",
    scales={
        "small": Scale(
            budget="30s", seeds=2, generate={"*": {}}, limit={"train": 1000, "validation": 300, "test": 300}
        ),
        "full": Scale(budget="1h", seeds=3, generate={"*": {}}),
    },
)
