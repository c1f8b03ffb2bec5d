"""crosstune: fine-tune pretrained transformers on data of any modality, and find out whether it was worth it.

>>> from crosstune import CrossModalClassifier
>>> model = CrossModalClassifier(backbone="minilm", budget="4m").fit(X, y)        # doctest: +SKIP

Importing the package is cheap: torch, NumPy and scikit-learn are imported with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosstune.data import read
    from crosstune.estimators import (
        CrossModalClassifier,
        CrossModalOperator,
        CrossModalRegressor,
        CrossModalSegmenter,
        DataWarning,
        bound,
        fit,
        load,
        rank,
    )

__version__ = "0.1.0"

__all__ = [
    "CrossModalClassifier",
    "CrossModalOperator",
    "CrossModalRegressor",
    "CrossModalSegmenter",
    "DataWarning",
    "__version__",
    "bound",
    "fit",
    "load",
    "rank",
    "read",
]

_HOMES = {
    "CrossModalClassifier": "estimators",
    "CrossModalOperator": "estimators",
    "CrossModalRegressor": "estimators",
    "CrossModalSegmenter": "estimators",
    "DataWarning": "estimators",
    "bound": "estimators",
    "fit": "estimators",
    "load": "estimators",
    "rank": "estimators",
    "read": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
