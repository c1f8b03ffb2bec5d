"""The ten tasks of NAS-Bench-360 by the commands that a user would type, on generated stand-ins of the official files.

    python bench/nas_bench_360_fits.py --work DIR                 files in results/nas_bench_360/
    python bench/nas_bench_360_fits.py --work DIR --tasks ecg --budget 30s --out DIR2

For every task: ``data generate``, ``data verify``, ``fit --budget 2m``, ``reveal``, ``evaluate``, ``report``. The table
has the figures of the sealed test, of the model, its controls and its floors, with exit codes, seconds and the largest
resident size of ``fit``. The signals are synthetic (Darcy flow is solved): figures say that everything runs and what
the floors do, and are not comparable with published ones. Tasks with a finished run in DIR are not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "results" / "nas_bench_360"
SUITE = "nas_bench_360"
TASKS = (
    "cifar100", "spherical", "ninapro", "fsd50k", "darcy_flow", "psicov", "cosmic", "ecg", "satellite", "deepsea",
)  # fmt: skip
COLUMNS = ("task", "metric", "arm", "label", "split", "value", "low", "high", "rows")


def call(log: Path, *arguments: str, threads: int) -> dict[str, Any]:
    """Run ``crosstune`` with the arguments; exit code, seconds, and the largest resident size of its process in MiB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "crosstune", *arguments], stdout=stream, stderr=stream, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "command": " ".join(["crosstune", *arguments]), "exit": process.returncode,
        "seconds": round(time.monotonic() - started, 1), "peak_mib": round(usage.ru_maxrss * scale / 2**20),
    }  # fmt: skip


def do_task(name: str, work: Path, budget: str, threads: int) -> dict[str, Any]:
    """The record of a task; one that was finished earlier is read back."""
    kept = work / "records" / f"{name}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    task, data, run = f"{SUITE}/{name}", work / "data" / name, work / "runs" / name
    steps = {
        "generate": ("data", "generate", task, "-o", str(data)),
        "verify": ("data", "verify", str(data), "--task", task),
        "fit": ("fit", task, "--data", str(data), "--budget", budget, "--threads", str(threads), "--out", str(run),
                "--overwrite"),
        "reveal": ("reveal", str(run)),
        "evaluate": ("evaluate", str(run), task, "--data", str(data)),
        "report": ("report", str(run)),
    }  # fmt: skip
    calls: dict[str, Any] = {}
    for step, arguments in steps.items():
        log = work / "logs" / f"{name}.{step}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        calls[step] = call(log, *arguments, threads=threads)
        print(f"{name:11} {step:9} exit {calls[step]['exit']}  {calls[step]['seconds']:6.1f} s", file=sys.stderr)
        if calls[step]["exit"]:
            break
    found = {"task": task, "calls": calls, **read_run(run)}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found, indent=1))
    return found


def read_run(run: Path) -> dict[str, Any]:
    """What the run folder says: nothing is taken from anywhere else."""
    if not (run / "run.json").exists():
        return {"scores": [], "rows": None, "metric": None}
    record = json.loads((run / "run.json").read_text())
    arms = record["arms"]
    scores = [
        {"arm": s["arm"], "label": arms[s["arm"]]["label"], "role": arms[s["arm"]]["role"],
         **{key: s[key] for key in ("metric", "split", "value", "low", "high", "rows")}}
        for s in record["scores"]
    ]  # fmt: skip
    failures = {name: arm["note"] for name, arm in arms.items() if arm["status"] != "ok"}
    return {
        "metric": record["task"]["metric"], "direction": record["task"]["direction"], "rows": record["task"]["rows"],
        "scores": scores, "without": failures, "seconds": record["budget"]["used"], "versions": record["versions"],
        "hardware": record["hardware"],
    }  # fmt: skip


def on_test(record: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """Test figures of the task's own metric, best first."""
    found = [
        s for s in record["scores"] if s["split"] == "test" and s["metric"] == record["metric"] and s["role"] == role
    ]
    return sorted(found, key=lambda s: s["value"], reverse=record.get("direction") == "higher")


def cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    interval = "" if score["low"] is None else f" [{score['low']:.3g}, {score['high']:.3g}]"
    return f"{score['value']:.4g}{interval}"


def as_markdown(records: list[dict[str, Any]], command: str) -> str:
    head = [
        "task",
        "metric",
        "rows (train/val/test)",
        "RECRAFT",
        "controls, best",
        "floors, best",
        "fit s",
        "MiB",
        "exits",
    ]
    lines = [
        "# NAS-Bench-360: the ten tasks on synthetic stand-ins",
        "",
        f"Written by `{command}`. Sealed test, protocol `clean`, 95 % bootstrap intervals over rows (or units). The "
        "data are generated in the official formats and are synthetic (Darcy flow is solved): not comparable with "
        "published figures. exits: of generate, verify, fit, reveal, evaluate, report.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for record in records:
        method, controls, floors = (on_test(record, role) for role in ("method", "control", "floor"))
        rows = record["rows"] or {}
        best_control = f"{controls[0]['label']}: {cell(controls[0])}" if controls else "none"
        best_floor = f"{floors[0]['label']}: {cell(floors[0])}" if floors else "none"
        fit = record["calls"].get("fit", {})
        exits = " ".join(str(each["exit"]) for each in record["calls"].values())
        lines.append(
            f"| {record['task'].split('/')[1]} | {record['metric'] or ''} | {'/'.join(str(n) for n in rows.values())} "
            f"| {cell(method[0]) if method else 'no model'} | {best_control} | {best_floor} "
            f"| {fit.get('seconds', '')} | {fit.get('peak_mib', '')} | {exits} |"
        )
    without = [
        f"- {r['task'].split('/')[1]}: {name}: {why}" for r in records for name, why in r.get("without", {}).items()
    ]
    return "\n".join([*lines, "", "Without a figure:", "", *(without or ["- nothing"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data, runs and logs, about 2 GB")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--workers", type=int, default=2, help="tasks at a time, each with one thread")
    asked = parser.parse_args()
    lock = threading.Lock()

    def one(name: str) -> dict[str, Any]:
        found = do_task(name, asked.work, asked.budget, 1)
        with lock:
            print(f"{name:11} done", file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(asked.workers) as pool:
        records = list(pool.map(one, asked.tasks))
    asked.out.mkdir(parents=True, exist_ok=True)
    command = f"python bench/nas_bench_360_fits.py --budget {asked.budget} --workers {asked.workers}"
    content = {"command": command, "machine": f"{platform.machine()}, {os.cpu_count()} cores", "tasks": records}
    # where the data lay decides nothing, and is nobody's business
    text = json.dumps(content, indent=1).replace(str(asked.work), "DIR")
    (asked.out / "fits.json").write_text(text + "\n")
    (asked.out / "fits.md").write_text(as_markdown(records, command))
    with (asked.out / "fits.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for record in records:
            for score in record["scores"]:
                writer.writerow([record["task"], *(score[column] for column in COLUMNS[1:])])
    print(as_markdown(records, command))


if __name__ == "__main__":
    main()
