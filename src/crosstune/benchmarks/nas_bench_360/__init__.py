"""NAS-Bench-360 (Tu et al., NeurIPS 2022 Datasets and Benchmarks, arXiv 2110.05668): ten tasks.

Readers of the official files that stay within memory, three protocols per task, verification, and stand-ins: small
synthetic files of the official layout with something to learn in them. Darcy flow alone is solved, not imitated.
"""

from crosstune.benchmarks.contract import Scale, Suite

SUITE = Suite(
    name="nas_bench_360",
    title="NAS-Bench-360",
    summary="ten tasks far apart: images, a sphere, muscles, sound, flow, proteins, stars, hearts, crops, DNA",
    published="NAS-Bench-360",
    scales={
        "small": Scale(
            budget="20s",
            seeds=3,
            generate={"*": {}, "nas_bench_360/darcy_flow": {"n": 300}},
            limit={"train": 1000, "validation": 300, "test": 300},
        ),
        "full": Scale(budget="2h", seeds=5, generate={"*": {}}),
    },
)
