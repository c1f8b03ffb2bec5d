"""Sweeps that are killed and go on: is the final table that of a sweep which nothing interrupted?

    python bench/sweep_kill.py                both proofs, files in results/sweep_kill/
    python bench/sweep_kill.py --only local   processes of this machine, the whole group killed five times
    python bench/sweep_kill.py --only ray     a cluster of two machines' worth of Ray, of which parts are killed

Forty jobs: two small tasks (tests/suites/tiny), three methods on a toy body and a floor, five seeds. Budgets are in
steps, so every figure is a pure function of its job, and equal means equal to the last bit: of every record but its
costs and its time, of the table, and of the weights and predictions that the jobs keep.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "sweep_kill"
COMMAND = (
    "bench", "run", "tiny", "--methods", "recraft,finetune,frozen,nearest", "--backbones", "twin-bert", "--budget",
    "12steps", "--set", "align.source_points=48", "--set", "align.target_points=24", "--set", "align.steps=4", "--set",
    "align.distortion_steps=3", "--set", "source_head.labels=topics", "--set", "source_head.iterations=2", "--set",
    "fit.head_init=zero", "--set", "fit.body_rate=0.001", "--set", "fit.dropout=true", "--checkpoint-every", "0.01s",
)  # fmt: skip
COSTS = ("seconds", "run_seconds", "peak_mib", "energy_joules", "energy_from", "time", "versions", "hardware")
_LOOK = 0.01  # seconds


def environment(cache: Path) -> dict[str, str]:
    source = os.pathsep.join([str(ROOT / "src"), *([os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else [])])
    return {
        **os.environ, "PYTHONPATH": source, "CROSSTUNE_SUITES": str(ROOT / "tests" / "suites"),
        "CROSSTUNE_CACHE": str(cache), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


# -- a sweep in a process of its own -----------------------------------------------------------------------------------


class Sweep:
    """``crosstune bench run`` as the leader of a process group."""

    def __init__(self, out: Path, *more: str, cache: Path, seeds: int) -> None:
        self.out, self.log = out, out.with_suffix(".log")
        arguments = [*COMMAND, "--seeds", str(seeds), "--out", str(out), *more]
        start = "import sys; from crosstune.cli import main; sys.exit(main())"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", start, *arguments], env=environment(cache), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def reaches(self, moment: Callable[[], bool]) -> bool:
        """Whether the moment came before the end."""
        while not moment():
            if self.process.poll() is not None:
                return False
            time.sleep(_LOOK)
        return True

    def kill(self, *others: int) -> None:
        """SIGKILL to the whole group at once, and to the groups of these processes."""
        for pid in (self.process.pid, *others):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process.wait() != 0:
            raise SystemExit(f"the sweep ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def lines(paths: list[Path]) -> int:
    return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())


def events(out: Path) -> int:
    return lines(list(out.glob("jobs/*/events.jsonl")))


def recorded(out: Path) -> int:
    from crosstune.experiment.sweep.records import Records

    return len(Records(out).states())


# -- what must be equal ------------------------------------------------------------------------------------------------


def figures(out: Path) -> dict[str, Any]:
    """The table, but for what a clock and a memory gauge say."""
    from crosstune.report import sweep as tables

    found = tables.table_of(tables.read_records(out)).as_dict()
    for cell in found["cells"]:
        cell["seconds"] = cell["peak_mib"] = cell["joules"] = None
    return json.loads(json.dumps(found))


def batches(out: Path) -> dict[str, list[list[dict[str, Any]]]]:
    """Job -> its whole records, one per time it was recorded; without costs."""
    from crosstune.experiment.sweep.records import Records

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in Records(out).lines():
        found.setdefault((entry["job"], entry["time"]), []).append(entry)
    jobs: dict[str, list[list[dict[str, Any]]]] = {}
    for (job, _), entries in found.items():
        if len(entries) == entries[0]["lines"]:
            jobs.setdefault(job, []).append([{k: v for k, v in e.items() if k not in COSTS} for e in entries])
    return jobs


def kept(out: Path) -> dict[str, str]:
    """sha256 of the weights, predictions and splits of all jobs."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((out / "jobs").rglob("*"))
        if path.name.endswith(("model.safetensors", ".parquet", "split.npz"))
    }


def compared(whole: Path, out: Path) -> dict[str, Any]:
    """The killed sweep beside the uninterrupted one."""
    one, other = batches(whole), batches(out)
    files, again = kept(whole), kept(out)
    return {
        "jobs": len(one),
        "lost": sorted(set(one) - set(other)),
        "added": sorted(set(other) - set(one)),
        "recorded_twice": sorted(job for job, times in other.items() if len(times) > 1),
        "records_that_differ": sorted(job for job in one if other.get(job, [None])[-1] != one[job][-1]),
        "table_equal": figures(whole) == figures(out),
        "figures_in_table": sum(cell["mean"] is not None for cell in figures(whole)["cells"]),
        "files": len(files),
        "files_that_differ": sorted(name for name in {*files, *again} if files.get(name) != again.get(name)),
        "states": dict(Counter(times[-1][0]["status"] for times in other.values())),
        "left_behind": sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.name.startswith(".")),
    }


def holds(found: dict[str, Any]) -> bool:
    wrong = ("lost", "added", "recorded_twice", "records_that_differ", "files_that_differ", "left_behind")
    return bool(found["table_equal"] and found["jobs"] and found["files"] and not any(found[name] for name in wrong))


# -- the proofs --------------------------------------------------------------------------------------------------------


def whole(place: Path, seeds: int) -> dict[str, Any]:
    """The sweep that nothing interrupts, one job after another in one process."""
    began = time.monotonic()
    sweep = Sweep(place / "whole", "--engine", "inline", cache=place / "cache", seeds=seeds)
    sweep.end()
    return {"seconds": round(time.monotonic() - began, 1), "events": events(sweep.out)}


def moments(total: int, count: int, rng: random.Random) -> list[int]:
    """Random moments of a sweep, in lines of its jobs' events, in order."""
    return sorted(rng.randrange(1, round(0.95 * total)) for _ in range(count))


def local(place: Path, seeds: int, total: int, kills: int, rng: random.Random) -> dict[str, Any]:
    """Processes of this machine. Every other time the workers are killed at the same moment; else they are left to
    find out that their sweep is gone."""
    out, cache = place / "local", place / "cache"
    began, said = time.monotonic(), []
    for number, moment in enumerate(moments(total, kills, rng)):
        sweep = Sweep(out, "--engine", "local", "--workers", "2", cache=cache, seeds=seeds)
        moment = max(moment, events(out) + rng.randrange(1, 20))
        if not sweep.reaches(lambda at=moment: events(out) >= at):  # type: ignore[misc]
            break
        time.sleep(0.3 * rng.random())
        workers = children(sweep.process.pid)
        at_once = number % 2 == 0
        sweep.kill(*(workers if at_once else ()))
        said.append(
            {"killed": "sweep and workers at once" if at_once else "sweep; workers end by themselves",
             "lines_of_events": events(out), "jobs_recorded": recorded(out), "workers": len(workers)}
        )  # fmt: skip
        print(f"local: kill {number + 1}, {said[-1]['jobs_recorded']} jobs recorded", file=sys.stderr)
    Sweep(out, "--engine", "local", "--workers", "2", cache=cache, seeds=seeds).end()
    return {"kills": said, "seconds": round(time.monotonic() - began, 1), **compared(place / "whole", out)}


def cluster(place: Path, seeds: int, total: int, rng: random.Random) -> dict[str, Any]:
    """A Ray cluster on this machine: a head without work and two nodes with a CPU each. Three losses at random moments:
    a node as by a power cut (raylet and workers at once), a worker as by the kernel when memory runs out, and the sweep
    itself; a new node takes the place of the lost one."""
    os.environ.update({**environment(place / "cache"), "RAY_USAGE_STATS_ENABLED": "0"})  # nodes give it to workers
    from ray.cluster_utils import Cluster

    out = place / "ray"
    began, said = time.monotonic(), []
    ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [ray.add_node(num_cpus=1) for _ in range(2)]
    engine = ("--engine", "ray", "--address", ray.address)
    try:
        sweep = Sweep(out, *engine, cache=place / "cache", seeds=seeds)
        for what, moment in zip(("node", "worker", "sweep"), moments(total, 3, rng)):
            moment = max(moment, events(out) + rng.randrange(1, 20))

            def came(what: str = what, moment: int = moment) -> bool:
                return events(out) >= moment and (what == "sweep" or bool(at_work(nodes[0])))

            if not sweep.reaches(came):
                break
            if what == "node":
                raylet = nodes[0].all_processes["raylet"][0].process.pid
                victims = [*children(raylet), raylet]
                nodes[0] = nodes.pop()
            else:
                victims = at_work(nodes[0])[:1] if what == "worker" else []
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            if what == "sweep":
                sweep.kill()
            said.append({"killed": what, "lines_of_events": events(out), "jobs_recorded": recorded(out)})
            print(f"ray: {what} killed, {said[-1]['jobs_recorded']} jobs recorded", file=sys.stderr)
            if what == "node":
                nodes.append(ray.add_node(num_cpus=1))
            if what == "sweep":
                sweep = Sweep(out, *engine, cache=place / "cache", seeds=seeds)
        sweep.end()
    finally:
        ray.shutdown()
    losses = [text.split("lost     ", 1)[1] for text in sweep.log.read_text().splitlines() if "lost     " in text]
    return {
        "kills": said, "losses_said": losses, "seconds": round(time.monotonic() - began, 1),
        **compared(place / "whole", out),
    }  # fmt: skip


def at_work(node: Any) -> list[int]:
    """Workers of a node that have a job at the moment; Ray names its processes after what they do."""
    found = []
    for pid in children(node.all_processes["raylet"][0].process.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::do"):
                found.append(pid)
    return found


# -- the result --------------------------------------------------------------------------------------------------------


def commit() -> str | None:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None
    return None


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("crosstune", "torch", "transformers", "accelerate", "numpy", "ray"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def table(record: dict[str, Any]) -> str:
    text = [
        "# Sweeps that are killed and go on",
        "",
        f"`{record['command']}`; {record['hardware']}, {record['cores']} cores, Python {record['versions']['python']}, "
        f"torch {record['versions']['torch']}, Ray {record['versions'].get('ray', 'not installed')}; "
        f"commit {record['commit']}, {record['time']}, load {record['load']:.1f} at the beginning.",
        "",
        f"The sweep: `crosstune {record['sweep']}`, {record['whole']['seconds']:.0f} s without interruption. The two "
        "below are compared with it. Records are compared in all but cost and time; files are weights, "
        "predictions and splits of all jobs, compared by sha256.",
    ]
    for name, title in (("local", "Processes of this machine"), ("ray", "A Ray cluster of two nodes")):
        if name not in record:
            continue
        found = record[name]
        text += [
            "",
            f"## {title}: {'equal' if holds(found) else 'NOT EQUAL'}",
            "",
            "| killed | lines of events by then | jobs recorded by then |",
            "|---|---|---|",
            *(f"| {k['killed']} | {k['lines_of_events']} | {k['jobs_recorded']} |" for k in found["kills"]),
            "",
            f"{found['jobs']} jobs: {len(found['lost'])} lost, {len(found['recorded_twice'])} recorded twice, "
            f"{len(found['records_that_differ'])} with a record that differs; {found['figures_in_table']} figures in "
            f"the table, {'all' if found['table_equal'] else 'NOT all'} equal; {len(found['files_that_differ'])} of "
            f"{found['files']} files differ; {found['seconds']:.0f} s.",
        ]
        if found.get("losses_said"):
            text += ["", "What the sweep said:", "", *(f"- {line}" for line in found["losses_said"])]
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("local", "ray"))
    parser.add_argument("--kills", type=int, default=5, help="of the local sweep")
    parser.add_argument("--seeds", type=int, default=5, help="of the sweep: eight jobs each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for sweep_kill.json and .md")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    record: dict[str, Any] = {
        "command": shlex.join(["python", "bench/sweep_kill.py", *sys.argv[1:]]), "commit": commit(),
        "sweep": shlex.join(COMMAND),
        "seeds": args.seeds, "moments_from_seed": args.seed, "hardware": platform.processor() or platform.machine(),
        "cores": os.cpu_count(), "load": os.getloadavg()[0], "versions": versions(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        record["whole"] = whole(place, args.seeds)
        total = record["whole"]["events"]
        if args.only != "ray":
            record["local"] = local(place, args.seeds, total, args.kills, random.Random(args.seed))
        if args.only != "local":
            record["ray"] = cluster(place, args.seeds, total, random.Random(args.seed))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "sweep_kill.json").write_text(json.dumps(record, indent=1) + "\n")
    (args.out / "sweep_kill.md").write_text(table(record))
    print(table(record))
    if not all(holds(record[name]) for name in ("local", "ray") if name in record):
        sys.exit(1)


if __name__ == "__main__":
    main()
