"""A fusion model that tells classes, in scikit-learn's manner."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.training.estimator import FusionEstimator, of_samples
from pnpfusion.training.recipe import ClassWeights, Recipe


@dataclass(eq=False, repr=False)
class FusionClassifier(FusionEstimator):
    r"""A fusion model that tells classes, in scikit-learn's manner.

    .. code-block:: python

        clf = FusionClassifier("pnp", {"audio": slice(0, 36), "motion": slice(36, 52)})
        clf.fit(X, y).score(X_test, y_test)

    It works in ``cross_val_score``, ``GridSearchCV`` and ``Pipeline``; features are standardised
    by the model itself. Classes may be numbers or strings; ``y`` of zeros and ones (n, K) is which
    of K labels a sample has. ``model_.save_pretrained(folder)`` keeps what was learned.
    """

    _: KW_ONLY
    label_smoothing: float = Recipe.label_smoothing  #: see :class:`pnpfusion.training.Recipe`
    class_weights: ClassWeights | tuple[float, ...] = Recipe.class_weights
    """"balanced", "none", or a number for each class in the order of ``classes_``."""

    kind = "classifier"

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each sample, (n,), or which labels it has, 0 or 1, (n, K).

        Args:
            X: samples as :meth:`fit` takes them, (n, d) or modalities by name.

        Raises:
            ValueError: not fitted, or an ``X`` that does not fit what ``fit`` saw.
        """
        outputs = self._outputs(X)
        if self.model_.config.task == "labels":
            return (outputs > 0).long().numpy()
        told: NDArray[Any] = self.classes_[outputs.argmax(1).numpy()]
        return told

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of each class in the order of ``classes_``, or of each label, (n, K).

        Args:
            X: samples as :meth:`fit` takes them, (n, d) or modalities by name.

        Raises:
            ValueError: see :meth:`predict`.
        """
        outputs = self._outputs(X)
        is_labels = self.model_.config.task == "labels"
        return (outputs.sigmoid() if is_labels else outputs.softmax(1)).numpy()

    def score(self, X: Any, y: Any) -> float:
        """The share of samples that are right, of labels in all of them.

        Args:
            X: samples as :meth:`fit` takes them, (n, d) or modalities by name.
            y: their classes, (n,), or labels, (n, K).

        Raises:
            ValueError: see :meth:`predict`, or a ``y`` of other length.
        """
        told = self.predict(X)
        right = told == of_samples(self, y, len(told))
        return float(right.reshape(len(told), -1).all(1).mean())

    def _target(self, y: NDArray[Any]) -> tuple[Tensor, NDArray[Any] | None]:
        if y.ndim == 2:
            if not np.isin(y, (0, 1)).all():
                raise ValueError("`y` of shape (n, K) must be zeros and ones, one for each label.")
            return torch.from_numpy(y.astype(bool)), np.arange(y.shape[1])
        if y.dtype.kind == "f":
            if not np.isfinite(y).all():
                raise ValueError("`y` must be finite; drop samples without a class.")
            if (y != y.round()).any():
                raise ValueError(
                    "Unknown label type: continuous. `y` must be classes; FusionRegressor tells "
                    "numbers."
                )
        elif y.dtype.kind == "O" and any(one is None or one != one for one in y):
            raise ValueError("`y` has entries that are None or NaN; drop samples without a class.")
        classes, numbers = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"`y` must have at least two classes, got one class, {str(classes[0])!r}."
            )
        return torch.from_numpy(numbers.astype(np.int64)), classes
