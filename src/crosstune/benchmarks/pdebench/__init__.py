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
        # two minutes of one core for all files; without the published ones at hand
        "small": Scale(
            budget="60s",
            seeds=3,
            generate={
                "*": {"n": 400, "resolution": 128},
                "pdebench/cfd_1d": {"n": 400, "resolution": 64},
                "pdebench/darcy": {"n": 400, "resolution": 32},
                "pdebench/diffusion_reaction_2d": {"n": 400, "resolution": 32},
                "pdebench/shallow_water": {"n": 400, "resolution": 32},
            },
            tasks=EIGHT,
        ),
        # the published numbers of samples on the points that the clean protocol reads, where hours suffice for that
        "full": Scale(
            budget="2h",
            seeds=5,
            generate={
                "*": {"resolution": 256},
                "pdebench/cfd_1d": {"n": 2000, "resolution": 256},
                "pdebench/darcy": {"n": 2000, "resolution": 64},
                "pdebench/diffusion_reaction_2d": {},
                "pdebench/shallow_water": {},
            },
            tasks=EIGHT,
        ),
    },
)
