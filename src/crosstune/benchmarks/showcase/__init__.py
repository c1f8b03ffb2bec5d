"""The evidence suite: real data that can be had without a network, and generated physics; each with a fixed split.

Every data set comes with all of its training rows and in low-data variants (``-30``, ``-10``: per cent of the training
rows), since that is where pretraining should pay. Official train and test parts are merged and carved anew (50 % train,
20 % validation, 30 % test, stratified, by seed 0): figures are not comparable with an archive's.
"""

from crosstune.benchmarks.contract import Scale, Suite

WHOLE = tuple(
    f"showcase/{name}"
    for name in (
        "acsf1", "advection", "arrow-head", "basic-motions", "breast-cancer", "burgers", "cardano", "covid", "darcy",
        "diabetes", "digits", "gun-point", "iris", "italy-power", "japanese-vowels", "osu-leaf", "pickup-gesture",
        "reaction-diffusion", "wine",
    )
)  # fmt: skip
LOW = tuple(f"{name}-{share}" for name in WHOLE for share in (30, 10))

SUITE = Suite(
    name="showcase",
    title="Showcase",
    summary="19 data sets: series of one or many channels, ragged series, images, tables, fields in 1-D and 2-D",
    scales={
        "small": Scale(budget="10s", seeds=3, tasks=(*WHOLE, *(name for name in LOW if name.endswith("-10")))),
        "full": Scale(budget="2m", seeds=5, tasks=(*WHOLE, *LOW)),
    },
)
