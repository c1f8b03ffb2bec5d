"""Labelled source data of the user's own: ``--proxy PATH``."""

from __future__ import annotations

from pathlib import Path

from crosstune.data.proxies.contract import ORDINARY, Modality, Proxy, Wanted
from crosstune.data.proxies.reading import archive, folder, table
from crosstune.errors import UsageError


class OwnProxy:
    """A folder with one sub-folder per class of images, .wav or .txt files; an .npz with X and y; or a .csv, .jsonl
    or .parquet with columns of text and label (``PATH::TEXT,LABEL`` names them).

    Looks at names and headers only; ``load`` reads. Raises DataError for what cannot be used, UsageError for an
    ending that is not known.
    """

    license = "your own"
    summary = "labelled examples of your own"
    modality: Modality
    size: str

    def __init__(self, name: str) -> None:
        self.name = name
        place, _, key = name.partition("::")
        self.path, self.key = Path(place).expanduser(), key or None
        if self.path.is_dir():
            found = folder.look(self.path)
            self.modality, self.form = found.modality, "folder"
            self.size = f"{len(found.classes)} classes, {sum(map(len, found.classes.values()))} files"
        elif self.path.name.lower().endswith(".npz"):
            self.modality, self.form, self.size = archive.look(self.path), "archive", "an .npz"
        elif self.path.name.lower().endswith(table.ENDINGS):
            self.modality, self.form, self.size = "text", "table", "a table"
        else:
            raise UsageError(
                f"--proxy {name}: {self.path.suffix or 'a file without ending'} is no format of a proxy",
                fix=f"give a folder with one sub-folder per class, an .npz with X and y, or {', '.join(table.ENDINGS)}",
            )
        if self.key is not None and self.form != "table":
            raise UsageError(f"--proxy {name}: columns after '::' belong to tables", fix=f"--proxy {self.path}")

    def load(self, wanted: Wanted = ORDINARY) -> Proxy:
        if self.form == "folder":
            return folder.load(self.path, wanted)
        if self.form == "archive":
            return archive.load(self.path, wanted)
        return table.load(self.path, self.key, wanted)
