"""42 small classification tables of OpenML, as ORCA selected them, from their ARFF files or a table of the same id.

Under "clean" a table stays a table: category codes, NaN where a value is missing, nothing fitted outside the model.
Under "shipped" features become a sequence, with encoder and scaler fitted on all rows, test rows included, and the
test rows select the checkpoint.
"""

from crosstune.benchmarks.contract import Scale, Suite

# two classes and three, numbers and categories, with and without gaps; all but the last are real without a download
_FEW = ("iris", "wine", "wdbc", "tic-tac-toe", "balance-scale", "credit-approval")

SUITE = Suite(
    name="openml",
    title="OpenML tables",
    summary="42 small classification tables, scored by 1 - AUC",
    scales={
        "small": Scale(budget="30s", seeds=2, generate={"*": {}}, tasks=tuple(f"openml/{name}" for name in _FEW)),
        "full": Scale(budget="10m", seeds=3, generate={"*": {}}),
    },
)
