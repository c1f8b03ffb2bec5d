"""Peak memory of the NAS-Bench-360 readers over 4 GB of input each.

    python bench/reader_memory.py                       every reader; table on stderr, files in bench/results/
    python bench/reader_memory.py --only ecg,satellite  these, the other rows stay as they were
    python bench/reader_memory.py --gigabytes 1 --folder /big/disk

Each task's official layout is blown up to that size with holes (sparse files), zeros, or one file under many names
(hard links). A fresh process then loads the task under its clean protocol, takes the digest, takes the three parts, and
reads up to 48 blocks of rows from all over each, inputs and targets: 2 GB of float32 and more, or everything where that
is less. Peak resident memory is what the operating system says of that process, the interpreter and libraries included.
A reader that held its input would need 4 GB and more; the target is below 2 GB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks import get_task

OUT = Path(__file__).parent / "results"
TARGET = 2 << 30
READ_VALUES = 1 << 29  # of one part
BLOCKS = 48
HOLE = 1 << 22


# -- blowing up -------------------------------------------------------------------------------------------------------


def array_in_pickle(shape: tuple[int, ...], code: str) -> tuple[bytes, int, bytes]:
    """(before the numbers, how many bytes of them, behind them) of an array, protocol 4."""
    size = int(np.prod(shape)) * np.dtype(code).itemsize
    numbers = b"(" + b"".join(b"\x8a\x05" + int(n).to_bytes(5, "little") for n in shape) + b"t"
    kind = b"cnumpy\ndtype\nX" + struct.pack("<I", len(code)) + code.encode() + b"\x89\x88\x87R(K\x03X\x01\0\0\0<NNN"
    kind += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    head = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + numbers + kind + b"\x89"
    )
    return head + b"\x8e" + struct.pack("<Q", size), size, b"tb"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


class Writer:
    """A pickle of dictionaries, with holes where large arrays are; with zeros where ``holes`` would be too many for the
    file system, or in a compressed stream."""

    def __init__(self, file: Any, *, holes: bool = True) -> None:
        self.file, self.holes = file, holes

    def put(self, content: bytes) -> None:
        self.file.write(content)

    def array(self, shape: tuple[int, ...], code: str, values: np.ndarray | None = None) -> None:
        head, size, tail = array_in_pickle(shape, code)
        self.put(head)
        if values is not None:
            self.put(values.tobytes())
        elif not self.holes:
            for start in range(0, size, HOLE):
                self.put(bytes(min(HOLE, size - start)))
        else:
            self.file.seek(size, os.SEEK_CUR)
        self.put(tail)


def linked(source: Path, targets: list[Path]) -> None:
    """The same file under many names; a new copy with every 30,000, since file systems bound the number of names."""
    for number, target in enumerate(targets):
        target.parent.mkdir(parents=True, exist_ok=True)
        if number % 30_000 == 0:
            if target != source:
                shutil.copyfile(source, target)
            source = target
        else:
            os.link(source, target)


def sparse_npy(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    with open(path, "wb") as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.seek(int(np.prod(shape)) * np.dtype(dtype).itemsize - 1, os.SEEK_CUR)
        file.write(b"\0")


def cifar100(folder: Path, size: int) -> None:
    get_task("nas_bench_360/cifar100").generate(folder, n=300)
    count = min(size // 2, (1 << 31) - 1) // 3072
    for name in ("train", "test"):
        with open(folder / "cifar-100-python" / name, "wb") as file:
            out = Writer(file)
            out.put(b"\x80\x02}(U\x0bfine_labels](" + b"".join(b"K" + bytes([k % 100]) for k in range(count)) + b"e")
            out.put(b"U\x04data")
            out.array((count, 3072), "u1")
            out.put(b"u.")


def spherical(folder: Path, size: int) -> None:
    count = size // 2 // 10_800
    with gzip.open(folder / "s2_cifar100.gz", "wb", compresslevel=1) as file:
        out = Writer(file, holes=False)
        out.put(b"\x80\x04}(")
        for part in ("train", "test"):
            out.put(text(part) + b"}(" + text("images"))
            out.array((count, 3, 60, 60), "u1")
            out.put(text("labels"))
            out.array((count,), "i8", np.arange(count) % 100)
            out.put(b"u")
        out.put(b"u.")


def ninapro(folder: Path, size: int) -> None:
    rows = size // (52 * 16 * 8)
    for part, count in (("train", rows // 2), ("val", rows // 4), ("test", rows // 4)):
        sparse_npy(folder / f"ninapro_{part}.npy", (count, 52, 16), "<f8")
        np.save(folder / f"label_{part}.npy", np.arange(count) % 18)


def satellite(folder: Path, size: int) -> None:
    rows = size // (46 * 8)
    for name, count in (("train", rows * 9 // 10), ("test", rows // 10)):
        with open(folder / f"satellite_{name}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
            out = Writer(file)
            out.put(b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01)")
            out.put(b"cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff")
            out.put(b"K?tb\x89]}(" + text("data"))
            out.array((count, 46), "f8")
            out.put(text("label"))
            out.array((count,), "i8", np.arange(count) % 24 + 1)
            out.put(b"uatb.")


def ecg(folder: Path, size: int) -> None:
    length = 9000
    count = size // (2 * length)
    with open(folder / "challenge2017.pkl", "wb") as file:
        out = Writer(file, holes=False)
        out.put(b"\x80\x04}(" + text("data") + b"](")
        for _ in range(count):
            out.array((length,), "i2")
        out.put(b"e" + text("label") + b"](" + b"".join(text("NNNNNNAAOOO~"[k % 12]) for k in range(count)) + b"eu.")


def deepsea(folder: Path, size: int) -> None:
    rows = size // 4000
    held: dict[str, np.ndarray] = {}
    for part, count in (("train", rows // 2), ("val", rows // 20), ("test", rows * 9 // 20)):
        sparse_npy(folder / f"{part}.npy", (count, 1000, 4), "|u1")
        held[f"x_{part}"] = np.load(folder / f"{part}.npy", mmap_mode="r")
        held[f"y_{part}"] = (np.arange(count * 36).reshape(count, 36) % 7 == 0).astype(np.uint8)
    np.savez(folder / "deepsea_filtered.npz", **held)  # type: ignore[arg-type]
    for part in ("train", "val", "test"):
        (folder / f"{part}.npy").unlink()


def cosmic(folder: Path, size: int) -> None:
    get_task("nas_bench_360/cosmic").generate(folder, n=8)
    sample = next(p for p in sorted((folder / "npy_train").rglob("[0-9]*.npy")) if p.stat().st_size > 600_000)
    count = size // sample.stat().st_size
    for part, share in (("npy_train", 0.9), ("npy_test", 0.1)):
        visit = next(p for p in sorted((folder / part / "f435w").glob("*/*")) if p.parent.name != "20001")
        linked(sample, [visit / f"{k + 1}_{visit.parent.name}x.npy" for k in range(int(count * share))])
        np.save(visit / "sky.npy", np.full(count, 40.0))


def psicov(folder: Path, size: int) -> None:
    import pickle

    root, length = folder / "protein", 480
    shapes = {"ss": (3, length), "pssm": (length, 22), "sa": (length,), "entropy": (length,)}
    shapes |= dict.fromkeys(("ccmpred", "freecon", "potential"), (length, length))
    features = pickle.dumps({"seq": "A" * length} | {k: np.zeros(s, np.float32) for k, s in shapes.items()}, 4)
    items = np.empty(3, dtype=object)
    items[0], items[1] = length, "A" * length
    items[2] = np.abs(np.subtract.outer(np.arange(length), np.arange(length))) * 3.8
    root.mkdir()
    (root / "features").write_bytes(features)
    np.save(root / "distance.npy", items, allow_pickle=True)
    count = size // (len(features) + (root / "distance.npy").stat().st_size)
    for part, share in (("deepcov", 0.95), ("psicov", 0.05)):
        names = [f"x{k:06d}A" for k in range(int(count * share))]
        linked(root / "features", [root / part / "features" / f"{name}.pkl" for name in names])
        linked(root / "distance.npy", [root / part / "distance" / f"{name}-cb.npy" for name in names])
        (root / f"{part}.lst").write_text("\n".join(names) + "\n")


def fsd50k(folder: Path, size: int) -> None:
    get_task("nas_bench_360/fsd50k").generate(folder, n=400)
    sample = sorted((folder / "dev_chunks_22050").glob("*.wav"))[0]
    count, clip = size // sample.stat().st_size, 10
    for name, place, share in (("tr", "dev", 0.7), ("val", "dev", 0.1), ("eval", "eval", 0.2)):
        chunks = [f"{place}_more/{name}{k // clip}_{k % clip:04d}.wav" for k in range(int(count * share))]
        linked(sample, [folder / chunk for chunk in chunks])
        lines = [f"data/{chunk},Tone_{k // clip % 200:03d},{name}{k // clip}" for k, chunk in enumerate(chunks)]
        (folder / "chunks" / f"{name}.csv").write_text("\n".join(["files,labels,ext", *lines]) + "\n")


def darcy_flow(folder: Path, size: int) -> None:
    nodes = 421
    for name, share in (("smooth1", 0.9), ("smooth2", 0.1)):
        count = min(int(size * share / 2 / nodes**2 / 4), ((1 << 32) - 1) // (4 * nodes**2) - 1)
        with open(folder / f"piececonst_r421_N1024_{name}.mat", "wb") as file:
            file.write(b"MATLAB 5.0 MAT-file, with holes".ljust(124) + b"\x00\x01IM")
            for variable in (b"coeff", b"sol"):
                numbers = count * nodes * nodes * 4
                head = struct.pack("<IIII", 6, 8, 7, 0) + struct.pack("<IIiiii", 5, 12, count, nodes, nodes, 0)
                head += struct.pack("<II", 1, len(variable)) + variable.ljust(8, b"\0") + struct.pack("<II", 7, numbers)
                padding = -numbers % 8
                file.write(struct.pack("<II", 14, len(head) + numbers + padding) + head)
                file.seek(numbers + padding - 1, os.SEEK_CUR)
                file.write(b"\0")


BLOWN_UP: dict[str, Callable[[Path, int], None]] = {
    maker.__name__: maker
    for maker in (cifar100, spherical, ninapro, fsd50k, darcy_flow, psicov, cosmic, ecg, satellite, deepsea)
}


# -- reading ----------------------------------------------------------------------------------------------------------


def read(name: str, folder: Path) -> dict[str, Any]:
    """In a process of its own: what loading and reading takes."""
    from crosstune.data import dataset_digest
    from crosstune.data.lazy import BLOCK_VALUES

    task = get_task(f"nas_bench_360/{name}")
    begin = peak()
    started = time.monotonic()
    loaded = task.load(folder, "clean")
    after_load, load_seconds = peak(), time.monotonic() - started
    dataset_digest(loaded.dataset)
    values, seen = 0, 0.0
    for part in ("train", "validation", "test"):
        dataset = loaded.dataset.take(loaded.split.rows(part))
        width = int(np.prod(dataset.X.shape[1:]))
        step = max(1, BLOCK_VALUES // width)
        of_part = 0
        blocks = -(-len(dataset) // step)
        for start in step * np.unique(np.linspace(0, blocks - 1, min(BLOCKS, blocks)).astype(int)):
            rows = np.arange(start, min(start + step, len(dataset)))
            block = np.asarray(dataset.X[rows])
            assert dataset.y is not None
            seen += float(block[0].sum()) + float(np.nan_to_num(np.asarray(dataset.y[rows])).sum())
            values += block.size
            of_part += block.size
            if of_part > READ_VALUES:
                break
    return {
        "rows": len(loaded.dataset), "lazy": type(loaded.dataset.X).__name__ == "LazyRows", "before": begin,
        "after_load": after_load, "peak": peak(), "load_seconds": load_seconds,
        "seconds": time.monotonic() - started, "float32_read": 4 * values, "sum": seen,
    }  # fmt: skip


def peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss also counts what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and ".unpacked" not in path.parts)


def measure(name: str, size: int, parent: Path) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    try:
        BLOWN_UP[name](folder, size)
        source = size_of(folder)
        command = [sys.executable, __file__, "--read", name, "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        unpacked = (
            sum(p.stat().st_size for p in (folder / ".unpacked").glob("*")) if (folder / ".unpacked").exists() else 0
        )
        return {"task": name, "input_bytes": source, "unpacked_bytes": unpacked, **json.loads(done.stdout)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| reader | input | rows | peak RSS | of it before loading | after loading | read as float32 | seconds |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        size = f"{row['input_bytes'] / 2**30:.2f} GiB"
        if row["unpacked_bytes"]:
            size += f" ({row['unpacked_bytes'] / 2**30:.2f} unpacked)"
        cells = [
            row["task"],
            size,
            f"{row['rows']:,}",
            f"**{row['peak'] / 2**20:.0f} MiB**",
            f"{row['before'] / 2**20:.0f}",
        ]
        cells += [f"{row['after_load'] / 2**20:.0f}", f"{row['float32_read'] / 2**30:.2f} GiB", f"{row['seconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of the NAS-Bench-360 readers")
    parser.add_argument("--only", help="names, joined by commas")
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where files are made, and removed again")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read, Path(options.folder))))
        return
    names = options.only.split(",") if options.only else list(BLOWN_UP)
    known = {}
    if options.only and (OUT / "reader_memory.json").exists():  # the others as they were
        known = {row["task"]: row for row in json.loads((OUT / "reader_memory.json").read_text())["readers"]}
    for name in names:
        known[name] = measure(name, int(options.gigabytes * 2**30), Path(options.folder))
        print(table([known[name]]).splitlines()[-1], file=sys.stderr)
    rows = [known[name] for name in BLOWN_UP if name in known]
    over = [row["task"] for row in rows if row["peak"] > TARGET]
    print(f"above 2 GiB: {', '.join(over) or 'none'}", file=sys.stderr)
    OUT.mkdir(exist_ok=True)
    machine = {"system": platform.platform(), "python": platform.python_version(), "numpy": np.__version__}
    record = {"target_bytes": TARGET, "machine": machine, "readers": rows}
    (OUT / "reader_memory.json").write_text(json.dumps(record, indent=1) + "\n")
    head = (
        "# Peak memory of the NAS-Bench-360 readers\n\nMade by `python bench/reader_memory.py`, "
        f"clean protocol; {machine['system']}, Python "
        f"{machine['python']}, NumPy {machine['numpy']}. The script's head says what is measured. "
        "Target: below 2 GiB.\n\n"
    )
    (OUT / "reader_memory.md").write_text(head + table(rows) + "\n")


if __name__ == "__main__":
    main()
