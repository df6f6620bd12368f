"""A fusion model that tells numbers, in scikit-learn's manner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.training.estimator import FusionEstimator, of_samples
from pnpfusion.training.metrics import number_scores


@dataclass(eq=False, repr=False)
class FusionRegressor(FusionEstimator):
    """A fusion model that tells numbers, in scikit-learn's manner; see :class:`FusionClassifier`.

    ``y`` is (n,) or (n, K), in any units: the model standardises it by itself.
    """

    kind = "regressor"

    def predict(self, X: Any) -> NDArray[Any]:
        """The numbers, (n,), or (n, K) of several.

        Args:
            X: samples as :meth:`fit` takes them, (n, d) or modalities by name.

        Raises:
            ValueError: not fitted, or an ``X`` that does not fit what ``fit`` saw.
        """
        outputs = self._outputs(X).numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def score(self, X: Any, y: Any) -> float:
        r"""The share of variance that is explained, :math:`R^2`, mean over columns.

        Args:
            X: samples as :meth:`fit` takes them, (n, d) or modalities by name.
            y: their numbers, (n,) or (n, K).

        Raises:
            ValueError: see :meth:`predict`, or a ``y`` of other shape.
        """
        told = self._outputs(X)
        target, _ = self._target(of_samples(self, y, len(told)))
        target = target.reshape(len(target), -1)
        if target.shape != told.shape:
            raise ValueError(f"`y` must have {told.shape[1]} columns, got {target.shape[1]}.")
        return number_scores(told, target)["r2"]

    def _target(self, y: NDArray[Any]) -> tuple[Tensor, NDArray[Any] | None]:
        numbers = torch.from_numpy(y.astype(np.float64))
        if not numbers.isfinite().all():
            raise ValueError("`y` must be finite; drop samples without a number.")
        return numbers, None
