"""Classification, one class per row or several labels at once, in scikit-learn's contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length

from crosstune.data.infer import class_name
from crosstune.errors import TaskError
from crosstune.estimators.base import CrossModalEstimator
from crosstune.records import Dataset


class CrossModalClassifier(ClassifierMixin, CrossModalEstimator):
    """A classifier made from a transformer that was pretrained on another modality.

    Parameters
    ----------
    backbone : a name (``crosstune list backbones``), a local folder, a hub id, or "auto": MiniLM where it is installed,
        else one of the pair that the package carries.
    method : the recipe (``crosstune list methods``): "recraft", "finetune", "frozen", "scratch", ...
    budget : wall time of the whole fit, floors and controls included ("4m", "90s"), or steps per model ("200steps").
        With a budget in steps the result is a pure function of data and seed.
    random_state : int (default 0), ``RandomState``, or None for another seed in every fit. Decides the inner split,
        the initial embedder, batches and dropout.
    metric : what selects on validation (``crosstune list metrics``); None is the usual one for the task.
    floors : "auto", "none", or names: cheap baselines that run in a child process, for the verdict.
    controls : "auto", "none", or names: the same model without alignment, frozen, from scratch, at equal time.
    tokens : tokens per sample; None is chosen from the shape.
    loss : what fitting minimises, by name (``crosstune list losses``); None is the usual one for the task.
    settings : overrides of the method's settings, e.g. ``{"align.steps": 30, "fit.batch_size": 64}``.
    validation_fraction : share of the rows that selects.
    proxy : labelled source data for the alignment stages: "auto" (by the body's modality), "none", a name
        (``crosstune list proxies``) or a path of your own.
    threads : of the CPU; None is torch's choice.
    device : where fitting and predicting compute: "auto", "cpu", "cuda", "cuda:1" or "mps".
    out : run folder to keep. None uses a temporary one that goes when the estimator does. The same folder with other
        data or settings is refused, so leave it out in searches over parameters.
    verbose : say on stderr what goes on.

    Attributes
    ----------
    classes_ : (K,) class labels as given; 0..K-1 for several labels per row.
    n_features_in_ : size of axis 1 of X: columns, or channels. feature_names_in_ : column names of a data frame.
    report_ : what the run came to, as plain data: ``verdict``, ``arms`` (method, controls, floors, with intervals),
        ``bound``, ``budget``, ``findings``, ``rows``.
    run_ : path of the run folder; None in a copy (unpickled, deep-copied) of an estimator with a temporary one.
    model_ : the ``LoadedModel``.

    Weights and arithmetic are float32: predictions of one row alone and within a batch agree to about 1e-6.
    """

    classes_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _with_target(self, dataset: Dataset, y: Any) -> Dataset:
        check_classification_targets(y)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            check_consistent_length(dataset.X, y)
            self.classes_ = np.arange(y.shape[1])
            return replace(dataset, y=y.astype(np.float32), kind="multilabel")
        if hasattr(y, "iloc"):
            y = y.to_numpy()
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=self), warn=True)
        check_consistent_length(dataset.X, y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise TaskError(
                f"y holds one class only, {class_name(classes[0])!r}, in all {len(y)} rows",
                cause="the wrong target, or a fold without rows of another class",
                fix="a classifier needs rows of at least 2 classes; stratified folds keep them apart",
            )
        self.classes_ = classes
        names = [class_name(v) for v in classes]
        names = names if len(set(names)) == len(names) else [repr(v) for v in classes]
        return replace(dataset, y=codes.reshape(-1).astype(np.int64), kind="classification", classes=tuple(names))

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(n,) labels out of ``classes_``, or (n, K) of 0 and 1 for several labels. X, lengths: as in ``fit``."""
        probabilities = self._canonical(X, lengths)
        if self.model_.kind == "multilabel":
            return (probabilities >= 0.5).astype(np.int64)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(n, K) probabilities of ``classes_``, rows summing to one; for several labels each on its own."""
        return self._canonical(X, lengths)
