"""The 42 tasks, one for each row of the table."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from crosstune.benchmarks.contract import Task, Terms
from crosstune.benchmarks.openml.features import KEPT_FEATURES, NORMALISED_AGAIN
from crosstune.benchmarks.openml.files import find
from crosstune.benchmarks.openml.loading import load, verify
from crosstune.benchmarks.openml.settings import Setting, settings
from crosstune.benchmarks.openml.stand_ins import generate
from crosstune.benchmarks.recipes import Recipe

EMBEDDER_EPOCHS = 20
EVALUATION_ROWS = 1000
WEIGHTED = {"fit.class_weights": "balanced"}  # N / n_c, up to a factor that the weighted mean takes out


def recipe_of(setting: Setting) -> Recipe:
    """The published configuration of a set."""
    return Recipe(
        name=f"OPENML{setting.id}", backbone="roberta-base", epochs=setting.epochs, embedder_epochs=EMBEDDER_EPOCHS,
        optimiser=setting.optimiser, rate=setting.rate, weight_decay=setting.weight_decay, batch=setting.batch,
        accumulation=1, warmup=setting.warmup, decay=setting.decay, chunk=EVALUATION_ROWS, samples=setting.samples,
        dropout=setting.dropout, momentum=setting.momentum, clip=setting.clip, target_seq_len=setting.target_seq_len,
    )  # fmt: skip


def _terms(setting: Setting) -> dict[str, Terms]:
    grouped = f"; rows of one {setting.groups} stay together" if setting.groups else ""
    share = "a fifth each validates and tests" if setting.groups else "a tenth tests, a fifth validates"
    clean = Terms(
        metric="1-auc",
        also=("balanced-error", "log-loss"),
        text="the table as it is, nothing fitted outside the model; one stratified split for all seeds, "
        f"{share}{grouped}; classes weigh the same in the loss",
        settings=WEIGHTED,
    )
    form = (
        "categories one-hot and numbers in slot 0 of vectors of the widest one-hot width: channels are slots, "
        "positions features"
        if setting.categorical
        else "features are channels of a series of length 1, columns with a missing value dropped"
    )
    more = " and normalised once more per feature" if setting.id in NORMALISED_AGAIN else ""
    kept = KEPT_FEATURES.get(setting.id)
    only = f", features {', '.join(map(str, kept))} only" if kept else ""
    shipped = Terms(
        metric="1-auc",
        also=("balanced-error", "log-loss"),
        text=f"{form}{only}; encoder and scaler fitted on all rows, test rows included{more}; a tenth, stratified by "
        "chance, is validation and test in one; classes weigh the same in the loss",
        selected_on="test",
        settings=WEIGHTED,
    )
    return {"clean": clean, "shipped": shipped}


def _traps(setting: Setting) -> tuple[str, ...]:
    found = [
        "public code fits encoder and scaler on all rows and selects the checkpoint on the test rows",
        "public code draws the split anew for every process, and stores it",
    ]
    if setting.groups:
        found.append(f"rows of one {setting.groups} are repeated measurements: a split of rows puts them in both parts")
    if min(setting.class_rows) < 100:
        found.append(f"{min(setting.class_rows)} rows of the rarest class: about a tenth of them are test rows")
    if not setting.categorical:
        found.append("as shipped, a table of numbers is a series of length 1: the body sees one token")
    return tuple(found)


def _task(setting: Setting) -> Task:
    recipe = recipe_of(setting)

    def recognise(path: Path) -> bool:
        return find(path, setting) is not None

    return Task(
        name=setting.task,
        title=f"{setting.name} ({setting.id})",
        summary=f"{setting.rows:,} rows, {setting.numeric} numbers and {setting.categorical} categories, "
        f"{len(setting.class_rows)} classes",
        kind="classification",
        modality="table",
        protocols=_terms(setting),
        load=partial(load, setting),
        generate=partial(generate, setting),
        verify=partial(verify, setting),
        recognise=recognise,
        reference=recipe.settings,
        unmapped=recipe.unmapped,
        published=None,
        synthetic=True,  # most are stand-ins, and none solves equations; the files say which they are
        traps=_traps(setting),
    )


TASK = tuple(_task(setting) for setting in settings())
