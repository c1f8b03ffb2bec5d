"""PDEBench (Takamoto et al., NeurIPS 2022, arXiv 2210.07182; data DOI 10.18419/darus-2986): eight tasks and one extra.

Readers of the published files, generators that solve the same equations and write the same layouts, three protocols
per task, and verification. NumPy, SciPy and h5py only.
"""

from crosstune.benchmarks.contract import Scale, Suite

EIGHT = tuple(
    f"pdebench/{name}"
    for name in (
        "advection", "burgers", "cfd_1d", "darcy", "diffusion_reaction_1d", "diffusion_reaction_2d",
        "diffusion_sorption", "shallow_water",
    )
)  # fmt: skip

SUITE = Suite(
    name="pdebench",
    title="PDEBench",
    summary="operators of partial differential equations: initial field to later field, or step by step",
    published="PDEBench",
    scales={
        "small": Scale(
            budget="20s",
            seeds=3,
            generate={"*": {"n": 400, "resolution": 128}, "pdebench/darcy": {"n": 400, "resolution": 32}},
            tasks=EIGHT,
        ),
        "full": Scale(budget="2h", seeds=5, generate={"*": {}}, tasks=EIGHT),
    },
)
