"""Features of a table as the protocols feed them: a table as it is, or ORCA's sequence of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosstune.benchmarks.openml.files import Relation
from crosstune.data.arff import Attribute
from crosstune.errors import DataError

# Particularities of the public code, by OpenML id.
NORMALISED_AGAIN = (12, 54, 1068, 1494)
KEPT_FEATURES = {1464: (0, 1, 3)}
_EPSILON = 1e-5  # of the additional point-wise normaliser


def table(relation: Relation) -> tuple[np.ndarray, dict[int, tuple[str, ...]]]:
    """X float32 (N, F), NaN where a value is missing and codes for categories, with the categories by column.

    Nothing is fitted: the list of categories is the header's, scaling is the model's own, fitted on training rows.
    """
    columns = []
    categories = {}
    for i, (attribute, column) in enumerate(zip(relation.features, relation.columns)):
        if attribute.type == "nominal":
            categories[i] = attribute.values
            column = np.where(column < 0, np.nan, column)
        columns.append(column.astype(np.float32))
    return np.column_stack(columns), categories


@dataclass(frozen=True)
class FeatureSequence:
    """ORCA's encoder of tables.

    With a categorical column: every feature is a vector of the widest one-hot width W, a categorical value one-hot over
    the levels seen in fitting (a missing value is the extra level "NaN"), a number standardised in slot 0 with 0 for
    missing; categorical features first, then numbers, as (N, W, F): channels are one-hot slots, positions features.
    Numbers only: columns with a missing value are dropped, the others standardised, as (N, F, 1): F channels, one
    position. Standardised with the mean and population standard deviation of the rows fitted on.
    """

    levels: tuple[tuple[int, tuple[int, ...]], ...]  # feature number, and codes of its levels
    scales: tuple[tuple[int, float, float], ...]  # feature number, mean, standard deviation

    @classmethod
    def fit(cls, relation: Relation, rows: np.ndarray) -> FeatureSequence:
        """Levels, means and scales from the given rows alone."""
        nominal = [i for i, attribute in enumerate(relation.features) if attribute.type == "nominal"]
        levels = tuple((i, _levels(relation.features[i], relation.columns[i][rows])) for i in nominal)
        scales = []
        for i, attribute in enumerate(relation.features):
            seen = relation.columns[i][rows]
            if attribute.type != "numeric" or (not nominal and np.isnan(seen).any()):
                continue
            known = seen[~np.isnan(seen)]
            mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
            scales.append((i, mean, deviation if deviation > 0 else 1.0))
        if not levels and not scales:
            raise DataError(
                f"{relation.path}: every column has missing values, and this encoding drops such columns",
                fix="use --protocol clean",
            )
        return cls(levels, tuple(scales))

    @property
    def width(self) -> int:
        """W: the widest one-hot width; 1 where there are numbers only."""
        return max((len(codes) for _, codes in self.levels), default=1)

    def transform(self, relation: Relation) -> np.ndarray:
        """float32 (N, W, F), or (N, F, 1) where there are numbers only. A level not seen in fitting is all zeros."""
        out = np.zeros((len(relation), len(self.levels) + len(self.scales), self.width), np.float32)
        for at, (i, codes) in enumerate(self.levels):
            for slot, code in enumerate(codes):
                out[:, at, slot] = relation.columns[i] == code
        for at, (i, mean, deviation) in enumerate(self.scales, start=len(self.levels)):
            out[:, at, 0] = np.nan_to_num((relation.columns[i] - mean) / deviation, nan=0.0)
        return out.transpose(0, 2, 1) if self.levels else out


def _levels(attribute: Attribute, codes: np.ndarray) -> tuple[int, ...]:
    """Codes that occur, sorted by their names, as a missing value is: by the name "NaN"."""
    names = {int(code): "NaN" if code < 0 else attribute.values[code] for code in np.unique(codes)}
    return tuple(sorted(names, key=lambda code: names[code]))


def normalised_again(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(x - mean) / (std + 1e-5) at every position, with the unbiased standard deviation of the given rows."""
    mean, deviation = x[rows].mean(axis=0), x[rows].std(axis=0, ddof=1)
    return ((x - mean) / (deviation + _EPSILON)).astype(np.float32)
