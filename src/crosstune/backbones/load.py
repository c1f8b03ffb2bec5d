"""From a name to a backbone: a pinned name, a local folder, a hub id (cache first), or a random twin.

safetensors only unless asked otherwise; never remote code; the checksum of pinned weights is verified whoever
handed them over.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crosstune.backbones.contract import (
    Backbone,
    BackboneInfo,
    Body,
    Family,
    Modality,
    Named,
    Weights,
    shuffle_within_tensors,
)
from crosstune.discovery import discover, suggest
from crosstune.errors import UsageError, WeightsError

FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
]


def families() -> dict[str, Family]:
    return discover("crosstune.backbones", "FAMILY")


def named() -> dict[str, Named]:
    return discover("crosstune.backbones", "BACKBONE")


def file_sha256(path: Path) -> str:
    return _file_sha256(str(path), path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _file_sha256(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _package_folder(entry: Named) -> Path | None:
    if entry.package is None:
        return None
    spec = importlib.util.find_spec(entry.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / entry.package_folder
    return folder if (folder / "model.safetensors").exists() else None


def _cached_folders(repo: str) -> list[Path]:
    """Snapshots of a repository in the hub's cache, newest first."""
    from huggingface_hub.constants import HF_HUB_CACHE

    root = Path(os.environ.get("HF_HUB_CACHE", HF_HUB_CACHE)) / ("models--" + repo.replace("/", "--")) / "snapshots"
    if not root.is_dir():
        return []
    return sorted(root.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)


def _download(repo: str, revision: str | None, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download

    patterns = (
        FILES
        + (["*.bin"] if allow_pickle else [])
        + ["model-*.safetensors", "*.index.json", "merges.txt", "vocab.json", "*.model", "preprocessor_config.json"]
    )
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except Exception as problem:  # the hub client raises many kinds; all mean "not to be had"
        reason = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
        raise WeightsError(
            f"weights of {repo!r} are neither in the hub's cache nor can they be downloaded ({reason})",
            cause="no network, a mistyped id, or a private repository",
            fix=f"on a machine with a network: `hf download {repo}`, then copy the folder here and use "
            "--backbone FOLDER; or use --backbone minilm",
        ) from None


def _resolve(name: str, *, allow_pickle: bool) -> tuple[Path, str, Named | None]:
    """Folder, origin in words, and the pinned entry if there is one."""
    known = named()
    if name in known:
        return _resolve_named(known[name])
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise WeightsError(
                f"folder {str(path)!r} has no config.json",
                cause="not a model folder in Hugging Face layout",
                fix="point --backbone to the folder that holds config.json and model.safetensors",
            )
        return path, f"folder {path}", None
    if "/" in name and not name.startswith((".", "/", "~")) and name.count("/") == 1:
        for folder in _cached_folders(name):
            if (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
                return folder, "hub cache", None
        return _download(name, None, allow_pickle), "hub", None
    raise WeightsError(
        f"no backbone {name!r}",
        cause="neither a known name, nor a folder, nor a hub id of the form owner/name",
        fix=suggest(name, [*known, *(f"twin-{f}" for f in families())]) + "; see `crosstune list backbones`",
    )


def _resolve_named(entry: Named) -> tuple[Path, str, Named]:
    candidates: list[tuple[Path, str]] = []
    packaged = _package_folder(entry)
    if packaged is not None:
        candidates.append((packaged, f"package {entry.package}"))
    candidates += [(folder, "hub cache") for folder in _cached_folders(entry.repo)] if entry.repo else []
    seen = []
    for folder, origin in candidates:
        weights = folder / "model.safetensors"
        if not weights.exists():
            continue
        digest = file_sha256(weights)
        if digest == entry.sha256:
            return folder, origin, entry
        seen.append(f"{origin}: {digest[:16]}")
    if seen:
        raise WeightsError(
            f"weights of {entry.name!r} do not match the pinned sha256 {entry.sha256[:16]} (found {'; '.join(seen)})",
            cause="a damaged download or another revision",
            fix=f"{entry.install}",
        )
    if entry.repo is None:
        raise WeightsError(
            f"the weights of {entry.name!r} are not there", cause="an incomplete installation", fix=entry.install
        )
    try:
        folder = _download(entry.repo, entry.revision, False)
    except WeightsError as problem:
        raise WeightsError(problem.problem, cause=problem.cause, fix=f"{entry.install}; or {problem.fix}") from None
    if file_sha256(folder / "model.safetensors") != entry.sha256:
        raise WeightsError(
            f"downloaded weights of {entry.name!r} do not match the pinned sha256 {entry.sha256[:16]}",
            cause="the repository changed or the download was tampered with",
            fix=entry.install,
        )
    return folder, "hub", entry


def _read_tensors(folder: Path, *, allow_pickle: bool) -> tuple[dict[str, Tensor], str]:
    from safetensors.torch import load_file

    shards = sorted(folder.glob("model*.safetensors"))
    if shards:
        tensors: dict[str, Tensor] = {}
        try:
            for shard in shards:
                tensors.update(load_file(shard))
        except Exception as problem:
            raise WeightsError(
                f"cannot read {shards[0]}: {problem}", cause="a truncated or damaged file", fix="download it again"
            ) from None
        return tensors, file_sha256(shards[0])
    pickled = folder / "pytorch_model.bin"
    if pickled.exists():
        if not allow_pickle:
            raise WeightsError(
                f"{folder} holds pickled weights only (pytorch_model.bin)",
                cause="an old checkpoint; unpickling untrusted files can run code",
                fix="convert it to safetensors, or pass --allow-pickle if you trust its author",
            )
        try:
            return torch.load(pickled, map_location="cpu", weights_only=True), file_sha256(pickled)
        except Exception as problem:
            raise WeightsError(
                f"cannot read {pickled}: {problem}",
                cause="a truncated file, or one that holds more than tensors",
                fix="download it again, or convert it to safetensors",
            ) from None
    raise WeightsError(
        f"no model.safetensors in {folder}", cause="an incomplete download", fix="download the weights into the folder"
    )


def _random_source(family: Family, config: dict[str, Any], body: Body, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.source(config, body).requires_grad_(False)


def _build_random(family: Family, config: dict[str, Any], seed: int) -> Body:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.build(config)


def _build_pretrained(
    family: Family, folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], options: dict[str, Any]
) -> tuple[Body, nn.Module]:
    try:
        # architectures draw initial weights before the stored ones replace them: keep the caller's generator out
        with torch.random.fork_rng(devices=[]):
            body, source = family.load(str(folder), config, tensors, **options)
            return body, source.requires_grad_(False)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as problem:
        reason = str(problem).strip() or type(problem).__name__
        raise WeightsError(
            f"the weights in {str(folder)!r} do not fit its config.json: {reason}",
            cause="files of two models in one folder, an edited config.json, or a model without its embeddings",
            fix="download config.json and model.safetensors of one revision again",
        ) from None


def load_backbone(
    name: str, *, weights: Weights = "pretrained", seed: int = 0, allow_pickle: bool = False,
    attention: str | None = None,
) -> Backbone:  # fmt: skip
    """Load a backbone by name ("minilm", "twin-bert"), folder or hub id.

    weights: "pretrained"; "random" (same architecture, its own initialisation, by seed); "shuffled" (pretrained
    values permuted within each tensor, the source embedder's too). attention: "causal" or "bidirectional", where the
    architecture offers a choice; None takes its own. Raises WeightsError (exit code 4) with the fix when weights are
    missing, refused or not what their checksum says, and UsageError for an attention that the family does not offer.
    """
    if name.startswith("twin-"):
        family = families().get(name.removeprefix("twin-"))
        if family is None:
            raise WeightsError(f"no backbone {name!r}", fix=suggest(name, [f"twin-{f}" for f in families()]))
        options = _options(family, attention)
        drawn: Weights = "shuffled" if weights == "shuffled" else "random"
        own = 0 if drawn == "shuffled" else seed
        body = _build_random(family, family.twin() | options, own)
        source = _random_source(family, family.twin(), body, own)
        if drawn == "shuffled":
            _shuffle(body, source, seed)
        return _assemble(name, body, source, family, "random weights", drawn, None, None, None, None, seed)
    folder, origin, entry = _resolve(name, allow_pickle=allow_pickle)
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as problem:
        raise WeightsError(f"cannot read {folder / 'config.json'}: {problem}", fix="download the model again") from None
    family = _family_of(config)
    if family is None:
        family = _generic(name, str(config.get("model_type")), config)
    options = _options(family, attention)
    tensors, digest = _read_tensors(folder, allow_pickle=allow_pickle)
    body, source = _build_pretrained(family, folder, config, tensors, options)
    if weights == "random":
        body = _build_random(family, body.config_dict(), seed)
    elif weights == "shuffled":
        _shuffle(body, source, seed)
    return _assemble(
        name, body, source, family, origin, weights, str(folder), digest,
        entry.revision if entry else None, entry.license if entry else _license(folder), seed, _hub_id(name, entry),
    )  # fmt: skip


def default_backbone(modality: str | None = None) -> str:
    """What is taken when nothing is asked for: MiniLM where its weights are on this machine and whole, else the pair
    that the package carries, ``tiny-grid`` for grids and volumes (modality of the data) and ``tiny-sequence`` for all
    else (``embedded_backbone``). Nothing is downloaded unasked."""
    entry = named()["minilm"]
    packaged = _package_folder(entry)
    folders = ([packaged] if packaged else []) + (_cached_folders(entry.repo) if entry.repo else [])
    weights = [folder / "model.safetensors" for folder in folders]
    if any(path.exists() and file_sha256(path) == entry.sha256 for path in weights):
        return entry.name
    return embedded_backbone(modality)


def embedded_backbone(modality: str | None = None) -> str:
    """Of the pair that the package carries, the one for data of a modality."""
    wanted = "tiny-grid" if modality in ("grid", "volume") else "tiny-sequence"
    return wanted if wanted in named() else "tiny-sequence"


def own_proxy(name: str) -> str | None:
    """The source proxy that a backbone was pretrained on, where there is one."""
    entry = named().get(name)
    return None if entry is None else entry.proxy


def _shuffle(body: Body, source: nn.Module, seed: int) -> None:
    """Theta knows words, pixels or waves as well."""
    shuffle_within_tensors(body, seed)
    shuffle_within_tensors(source, seed)


def modality_of(name: str) -> Modality | None:
    """What data a backbone was pretrained on, by its name or its config.json alone; None where that is not known
    without loading or downloading it."""
    if name.startswith("twin-"):
        family = families().get(name.removeprefix("twin-"))
        return None if family is None else family.modality
    entry = named().get(name)
    packaged = None if entry is None else _package_folder(entry)
    repo = name if entry is None else entry.repo
    folders = [packaged] if packaged else _cached_folders(repo) if repo else []
    try:
        for folder in (Path(name).expanduser(), *folders):
            if (folder / "config.json").is_file():
                return (_family_of(json.loads((folder / "config.json").read_text())) or families()["generic"]).modality
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _family_of(config: dict[str, Any]) -> Family | None:
    """The family of a config.json: the one it names under ``crosstune``, or that of its ``model_type``."""
    marked = config.get("crosstune")
    if isinstance(marked, dict) and marked.get("family") in families():
        return families()[marked["family"]]
    kind = str(config["model_type"]) if "model_type" in config else None
    return next((f for f in families().values() if kind in f.model_types), None)


def _generic(name: str, model_type: str, config: dict[str, Any]) -> Family:
    """The adapter for architectures without a family of their own; WeightsError with the reason where it cannot be."""
    from crosstune.backbones.generic import reason_against

    reason = reason_against(config)
    if reason is not None:
        known = sorted(t for f in families().values() for t in f.model_types)
        raise WeightsError(
            f"architecture {model_type!r} of {name!r} is not supported", cause=reason,
            fix=f"use an encoder that takes inputs_embeds, or one of: {', '.join(known)}",
        )  # fmt: skip
    return families()["generic"]


def _options(family: Family, attention: str | None) -> dict[str, Any]:
    """The choice of attention as a setting of the family's body."""
    if attention is None and len(family.attentions) == 1:
        return {}
    chosen = attention or family.attentions[0]
    if chosen not in family.attentions:
        raise UsageError(
            f"the attention of {family.name} cannot be {chosen!r}", cause="the architecture does not allow it",
            fix=f"leave --attention out, or use one of: {', '.join(family.attentions)}",
        )  # fmt: skip
    return {"attention": chosen} if len(family.attentions) > 1 else {}


def _hub_id(name: str, entry: Named | None) -> str | None:
    """owner/name on the hub, where that is what was asked for."""
    if entry is not None:
        return entry.repo
    return None if Path(name).expanduser().is_dir() else name


def _license(folder: Path) -> str | None:
    card = folder / "README.md"
    if not card.exists():
        return None
    for line in card.read_text(errors="replace").splitlines()[:40]:
        if line.startswith("license:"):
            return line.split(":", 1)[1].strip()
    return None


def _assemble(
    name: str, body: Body, source: nn.Module, family: Family, origin: str, weights: Weights, folder: str | None,
    digest: str | None, revision: str | None, license: str | None, seed: int, hub_id: str | None = None,
) -> Backbone:  # fmt: skip
    info = BackboneInfo(
        name=name, family=family.name, origin=origin, weights=weights, revision=revision, sha256=digest,
        license=license, parameters=sum(p.numel() for p in body.parameters()), width=body.width, hidden=body.hidden,
        layers=body.layers, max_tokens=body.max_tokens, modality=family.modality,
        seed=None if weights == "pretrained" else seed, hub_id=hub_id, attention=getattr(body, "attention", None),
    )  # fmt: skip
    return Backbone(info=info, body=body, source=source, folder=folder)
