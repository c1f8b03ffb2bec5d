"""CIFAR-10, for vision bodies: fetched through ``datasets`` only when it is asked for by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosstune.data.proxies.contract import ORDINARY, ImageProxy, Wanted, balanced, make_image_proxy
from crosstune.data.proxies.reading import pictures
from crosstune.errors import WeightsError

REPOSITORY = "uoft-cs/cifar10"
_OTHER = "use --proxy shapes-and-textures, which needs no network"


class Cifar10:
    """The proxy ``cifar10``: a choice of the training pictures, classes taking turns (Krizhevsky 2009)."""

    name = "cifar10"
    summary = "photographs of 32 x 32 pixels from the hub or its cache (extra: hub); never tried on its own"
    license = "not stated by its authors; for research"
    modality = "image"
    size = "10 classes, 50,000 pictures"

    def load(self, wanted: Wanted = ORDINARY) -> ImageProxy:
        try:
            import datasets
        except ImportError:
            raise WeightsError(
                "the proxy cifar10 needs the package datasets, which is not installed",
                cause="the extra hub was not installed",
                fix=f"pip install 'crosstune[hub]'; or {_OTHER}",
            ) from None
        try:
            table: Any = datasets.load_dataset(REPOSITORY, split="train")
        except Exception as problem:  # the client raises many kinds; all mean "not to be had"
            reason = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
            raise WeightsError(
                f"the proxy cifar10 is neither in the cache of datasets nor can it be downloaded ({reason})",
                cause="no network, or a hub that does not answer",
                fix=f"where there is a network: python -c \"import datasets; datasets.load_dataset('{REPOSITORY}')\", "
                f"then copy its cache here; or {_OTHER}",
            ) from None
        codes = np.asarray(table["label"], np.int64)
        rows = balanced(codes, wanted.rows)
        seen = [np.asarray(picture.convert("RGB")) for picture in table.select(rows.tolist())["img"]]
        images, notes = pictures.from_array(np.stack(seen).transpose(0, 3, 1, 2), wanted.size, "cifar10")
        return make_image_proxy(images, codes[rows], table.features["label"].names, notes)


PROXY = Cifar10()
