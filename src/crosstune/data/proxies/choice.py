"""From what a user asked for to a source of labelled data: auto, none, a name, or a path."""

from __future__ import annotations

from pathlib import Path

from crosstune.data.proxies.contract import Modality, ProxySource
from crosstune.discovery import discover, suggest
from crosstune.errors import UsageError

DEFAULTS: dict[Modality, str] = {
    "text": "documentation",
    "image": "shapes-and-textures",
    "audio": "sounds",
    "series": "formula-series",
}


def choose(asked: str, modality: Modality | None = None, own: str | None = None) -> ProxySource | None:
    """The source called ``asked``: "auto" takes the body's own source or else the offline one of its modality, "none"
    gives None, a name one of ``crosstune list proxies``, anything else is a path (``crosstune.data.proxies.own``).

    modality: of the body; None checks the name alone. own: what the body was pretrained on, where that is a source.
    Raises UsageError for an unknown name, a path that does not exist, and a source of another modality than the body's.
    """
    if asked == "none" or (asked == "auto" and modality is None):
        return None
    known: dict[str, ProxySource] = discover("crosstune.data.proxies", "PROXY")
    name = (own or DEFAULTS[modality]) if asked == "auto" and modality else asked
    if name in known:
        source = known[name]
    elif Path(name.partition("::")[0]).expanduser().exists():
        from crosstune.data.proxies.own import OwnProxy

        source = OwnProxy(name)
    else:
        what = "there is no file or folder" if _like_a_path(name) else "unknown source proxy"
        raise UsageError(
            f"--proxy {name}: {what} {name!r}",
            cause="a mistyped name or path",
            fix=f"{suggest(name, ['auto', 'none', *known])}; or a folder, .npz, .csv, .jsonl or .parquet of your own",
        )
    if modality is not None and source.modality != modality:
        fit = [n for n, s in known.items() if s.modality == modality]
        raise UsageError(
            f"--proxy {name} holds {_plural(source.modality)}, but the body was pretrained on {_plural(modality)}",
            cause="a source proxy stands in for the data of the body's own pretraining",
            fix=f"--proxy {' or '.join(fit)}, labelled {_plural(modality)} of your own, auto, or none",
        )
    return source


def _like_a_path(name: str) -> bool:
    return "/" in name or "\\" in name or "." in name


def _plural(modality: Modality) -> str:
    return {"text": "texts", "image": "images", "audio": "sounds", "series": "series"}[modality]
