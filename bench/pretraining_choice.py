"""Which formulas, objective and size make the body that transfers best: every candidate is pretrained for the same
number of steps and judged, frozen, on the validation rows of the showcase suite.

    python bench/pretraining_choice.py sequence --data DIR --work DIR2 --stage families     families alone, and all
    python bench/pretraining_choice.py sequence --data DIR --work DIR2 --stage references   controls and floors
    python bench/pretraining_choice.py sequence --data DIR --work DIR2 --stage objectives --formulas a,b
    python bench/pretraining_choice.py sequence --data DIR --work DIR2 --stage foreign      steps with random embedders
    python bench/pretraining_choice.py sequence --data DIR --work DIR2 --stage sizes --formulas a,b --objective masked=1
    python bench/pretraining_choice.py sequence --data DIR --work DIR2 --judge NAME=FOLDER      any other folder

Records go to results/pretraining/KIND.jsonl, one line per score; what is recorded already is not done again.
KIND.md beside them is the comparison, written anew every time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crosstune.backbones import Backbone, load_backbone
from crosstune.data.formulas import formulas
from crosstune.floors.runner import run_floors
from crosstune.pretraining import preset, train
from crosstune.pretraining.transfer import SERIES, SHARES, TASKS, divisions, judge, metric_of, prepare, rows_of

OUT = Path(__file__).parents[1] / "results" / "pretraining"
OBJECTIVES: dict[str, dict[str, float]] = {
    "supervised": {"supervised": 1.0},
    "contrastive": {"supervised": 0.0, "contrastive": 1.0},
    "masked": {"supervised": 0.0, "masked": 1.0},
    "supervised+masked": {"supervised": 1.0, "masked": 1.0},
    "supervised+contrastive": {"supervised": 1.0, "contrastive": 1.0},
    "all three": {"supervised": 1.0, "contrastive": 1.0, "masked": 1.0},
}
SIZES = {
    "64 x 4": {"width": 64, "layers": 4, "heads": 2, "inner": 96},
    "128 x 4": {"width": 128, "layers": 4, "heads": 4, "inner": 192},
    "192 x 4": {"width": 192, "layers": 4, "heads": 6, "inner": 288},
}
FLOORS = ("linear", "nearest", "boosting", "minirocket")
FLOOR_DRAWS = 4  # of the divisions: floors are fitted anew on each


def candidates(asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and changes of the preset for every candidate of a stage."""
    known = list(formulas(asked.kind))
    chosen = dict.fromkeys(asked.formulas.split(",") if asked.formulas else known, 1.0)
    tag = "all" if len(chosen) == len(known) else "+".join(chosen)
    objective = dict(OBJECTIVES["supervised+contrastive"])
    if asked.objective:
        objective = {"supervised": 0.0} | {k: float(v) for k, v in (p.split("=") for p in asked.objective.split(","))}
    if asked.stage == "families":
        for name in known:
            yield f"{name}", {"formulas": {name: 1.0}}
        yield "all families", {"formulas": dict.fromkeys(known, 1.0)}
    elif asked.stage == "objectives":
        for name, weights in OBJECTIVES.items():
            yield f"{tag}, {name}", {"formulas": chosen, "objective": weights}
    elif asked.stage == "foreign":
        for share in (0.0, 0.3, 0.6):
            yield f"{tag}, foreign {share:g}", {"formulas": chosen, "objective": objective, "foreign": share}
    elif asked.stage == "classes":
        for count in (250, 1000, 4000):
            yield f"{tag}, {count} classes", {"formulas": chosen, "objective": objective, "classes": count}
    elif asked.stage == "sizes":
        for name, shape in SIZES.items():
            yield f"{tag}, {name}", {"formulas": chosen, "objective": objective, "body": shape}


def record(file: Path, name: str, extra: dict[str, Any], found: Iterator[Any]) -> None:
    """Append scores as lines, each complete by itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        for score in found:
            values = score if isinstance(score, dict) else score.as_dict()
            handle.write(json.dumps({"name": name, **extra, **values}) + "\n")
            handle.flush()


def done(file: Path) -> set[str]:
    return {json.loads(line)["name"] for line in file.read_text().splitlines()} if file.exists() else set()


def floors_of(data: Path, tasks: tuple[str, ...], draws: int) -> Iterator[dict[str, Any]]:
    """Scores of what a user would otherwise pick, fitted on the same rows."""
    for task in tasks:
        whole, split = rows_of(data, task)
        metric = metric_of(task)
        for share in SHARES:
            errors: dict[str, list[float]] = {name: [] for name in FLOORS}
            rows = 0
            for train_rows, validation_rows in divisions(whole, split, share, draws):
                rows, part, validation = len(train_rows), whole.take(train_rows), whole.take(validation_rows)
                found = run_floors(part, {"validation": validation}, FLOORS, seed=0, threads=1, in_process=True)
                for result in found.values():
                    if result.status == "ok":
                        scores = result.predictions["validation"]
                        errors[result.name].append(metric.score(scores, np.asarray(validation.y), validation.units))
            for name, values in errors.items():
                if len(values) == draws:
                    yield {"task": task, "share": share, "modality": whole.modality, "metric": metric.name,
                           "error": float(np.mean(values)), "spread": float(np.std(values)), "draws": draws,
                           "start": name, "seed": 0, "rows": rows}  # fmt: skip


def references(asked: argparse.Namespace, file: Path) -> None:
    """Random and shuffled bodies of a backbone's shape, and MiniLM."""
    for name, folder, weights in (
        ("random body", asked.controls_of, "random"), ("shuffled body", asked.controls_of, "shuffled"),
        ("minilm", "minilm", "pretrained"),
    ):  # fmt: skip
        if name not in done(file):
            backbone = load_backbone(folder, weights=weights)  # type: ignore[arg-type]
            starts = ("random",) if name == "minilm" else ("random", "theta")
            found = judge(backbone, asked.data, tasks=TASKS[asked.kind], seeds=tuple(asked.seeds), starts=starts)
            record(file, name, {"stage": "references"}, found)
    if "floors" not in done(file):
        record(file, "floors", {"stage": "references"}, floors_of(asked.data, TASKS[asked.kind], FLOOR_DRAWS))


def score(asked: argparse.Namespace, file: Path, name: str, backbone: Backbone, extra: dict[str, Any]) -> None:
    found = judge(backbone, asked.data, tasks=TASKS[asked.kind], seeds=tuple(asked.seeds), starts=("random", "theta"))
    record(file, name, extra, found)


GROUPS = {
    "sequence": {"series": SERIES[:-2], "digits": ("digits",), "tables": ("breast-cancer", "wine", "iris")},
    "grid": {name: (name,) for name in TASKS["grid"]},
}  # fmt: skip


def table(file: Path, groups: dict[str, tuple[str, ...]]) -> str:
    """Mean validation error in % over the tasks of a group, by share of the training rows; mean over embedder seeds."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    shares = [share for share in SHARES if any(r["share"] == share for r in rows)]
    heads = [f"{group}, {share} %" for group in groups for share in shares]
    lines = ["Mean validation error in %, body frozen, head in closed form; embedder started at random or from theta.",
    "", "| stage | body | embedder | " + " | ".join(heads) + " |", "|" + "---|" * (3 + len(heads))]  # fmt: skip
    for key in dict.fromkeys((r["stage"], r["name"], r["start"]) for r in rows):
        own = [r for r in rows if (r["stage"], r["name"], r["start"]) == key]
        cells = []
        for members in groups.values():
            for share in shares:
                found = [[r["error"] for r in own if r["task"] == task and r["share"] == share] for task in members]
                whole = all(found)
                cells.append(f"{100 * np.mean([np.mean(errors) for errors in found]):.1f}" if whole else "")
        lines.append("| " + " | ".join((*key, *cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("sequence", "grid"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the suite's data, written when missing")
    parser.add_argument("--work", type=Path, required=True, help="folder of the candidates' weights")
    parser.add_argument("--stage", choices=("families", "references", "objectives", "foreign", "classes", "sizes"))
    parser.add_argument("--formulas", default="")
    parser.add_argument("--objective", default="")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1], help="of the embedders")
    parser.add_argument("--controls-of", default="tiny-sequence", help="whose shape the controls have")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--judge", action="append", default=[])
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.data.mkdir(parents=True, exist_ok=True)
    prepare(asked.data, TASKS[asked.kind])
    file = asked.out / f"{asked.kind}.jsonl"
    if asked.stage == "references":
        references(asked, file)
    for name, changes in candidates(asked):
        if name in done(file):
            continue
        recipe = preset(asked.kind, asked.preset, **({"steps": asked.steps} | changes))
        started, used = time.monotonic(), time.process_time()
        report = train(recipe, asked.work / name, device="cpu")
        print(f"{time.monotonic() - started:6.0f} s, {time.process_time() - used:6.0f} s of CPU  {name}: "
              f"{report['final']}", file=sys.stderr, flush=True)  # fmt: skip
        extra = {"stage": asked.stage, "steps": recipe.steps, "sha256": report["sha256"],
                 "cpu_seconds": round(time.process_time() - used, 1)}  # fmt: skip
        score(asked, file, name, load_backbone(str(asked.work / name)), extra)
    for pair in asked.judge:
        name, _, folder = pair.partition("=")
        if name not in done(file):
            score(asked, file, name, load_backbone(folder), {"stage": "others"})
    (asked.out / f"{asked.kind}.md").write_text(table(file, GROUPS[asked.kind]))


if __name__ == "__main__":
    main()
