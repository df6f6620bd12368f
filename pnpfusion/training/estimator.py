"""What learns and tells in scikit-learn's manner: fit, parameters, in pipelines and searches."""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, fields
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.data.splits import holdout
from pnpfusion.solvers.callers import users_level
from pnpfusion.spelling import did_you_mean
from pnpfusion.training.estimator_table import (
    Columns,
    columns_of,
    cut,
    is_parts,
    joined,
    read_table,
)
from pnpfusion.training.evaluate import predict
from pnpfusion.training.loop import train
from pnpfusion.training.model import FusionModel
from pnpfusion.training.randomness import drawn_by
from pnpfusion.training.recipe import Precision, Recipe, Schedule


@dataclass(eq=False, repr=False)
class FusionEstimator(ABC):
    """What :class:`FusionClassifier` and :class:`FusionRegressor` have in common.

    It keeps scikit-learn's contract without inheriting from it, so that it works where
    scikit-learn is not installed: parameters are only kept by ``__init__``, and checked by ``fit``.
    """

    model: str = "pnp"  #: one of :data:`MODELS`, or "only:NAME" of a modality
    modalities: Columns = None
    """The columns of each modality: slices, lists of numbers or (of a DataFrame) of names; or
    widths, in the order of the columns. None: all are one modality, and nothing is fused."""
    _: KW_ONLY
    hidden: int = 64  #: the width of each modality's encoding
    width: int = 64  #: of the fused feature
    epochs: int = Recipe.epochs  #: this and the next: see :class:`Recipe`
    batch: int = Recipe.batch
    learning_rate: float = Recipe.learning_rate
    weight_decay: float = Recipe.weight_decay
    schedule: Schedule = Recipe.schedule
    patience: int | None = Recipe.patience
    input_dropout: float = Recipe.input_dropout
    modality_dropout: float = Recipe.modality_dropout
    precision: Precision = Recipe.precision
    validation_fraction: float = 0.2
    """Share of the samples that is not learned from, to choose the best epoch and to stop early;
    0 for none."""
    random_state: Any = 0
    """A whole number, None for another one every time (of torch's generator), or a generator of
    NumPy to draw one from. The same number gives the same model."""
    device: str | torch.device | None = None  #: where to learn; None is the CPU
    verbose: bool | int = False  #: whether to show a bar

    kind: ClassVar[str]  #: "classifier" or "regressor"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters, by name; ``deep`` changes nothing."""
        return {name: getattr(self, name) for name in _names(self)}

    def set_params(self, **params: Any) -> Self:
        """Other values for some of the parameters.

        Raises:
            ValueError: no such parameter.
        """
        names = _names(self)
        for name in params:
            if name not in names:
                advice = did_you_mean(name, names, f"it has {names}.")
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; {advice}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        told = {one.name: one.default for one in fields(self)}
        changed = {
            name: value for name, value in self.get_params().items() if value is not told[name]
        }
        inside = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        return f"{type(self).__name__}({inside})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        is_classifier = self.kind == "classifier"
        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=True, multi_output=not is_classifier),
            classifier_tags=ClassifierTags(multi_label=True) if is_classifier else None,
            regressor_tags=None if is_classifier else RegressorTags(),
            input_tags=InputTags(allow_nan=self.modalities is not None),
        )

    @property
    def _estimator_type(self) -> str:
        return self.kind  # what scikit-learn asked for before 1.6

    def fit(self, X: Any, y: Any) -> Self:
        """Learn anew from these samples; what was learned before is forgotten.

        A modality of which a sample has NaN in all columns is missing there: the model learns, and
        later tells, without it. NaN in some of them is an error.

        Args:
            X: features (n, d): an array, tensor or DataFrame; or a dict of arrays (n, d) by
                modality where ``modalities`` is None.
            y: what is to be told, (n,) or (n, K).

        Returns:
            Itself, with ``model_`` (a :class:`FusionModel`), ``history_`` (a row an epoch),
            ``best_epoch_``, ``columns_`` (of each modality, by number) and ``n_features_in_``;
            ``feature_names_in_`` where the columns of ``X`` have names.

        Raises:
            TypeError: entries of ``X`` that are no numbers, or a sparse matrix.
            ValueError: a parameter out of its range, or samples that cannot be learned from.
            TrainingError: the loss stopped being finite.

        Warns:
            HealthWarning: ever more samples are without a converged solve.
        """
        seed = _seed_of(self.random_state)
        recipe = self._recipe(seed)
        share = self.validation_fraction
        if not 0 <= share < 1:
            raise ValueError(f"`validation_fraction` must be within [0, 1), got {share!r}.")
        table, names, columns = self._table(X)
        if len(table) < 2:
            raise ValueError("`X` must hold samples to learn from, got 1 sample.")
        target, classes = self._target(of_samples(self, y, len(table)))
        features, present = cut(table, columns)
        named = () if classes is None else tuple(map(str, classes))
        data = Features("`X`", features, present=present, target=target, class_names=named)
        data = holdout(data, share, generator=drawn_by("splits", seed))
        sizes = {"hidden": _plain(self.hidden), "width": _plain(self.width)}
        model = FusionModel.build(data, self.model, seed=seed, **sizes)
        trained = train(model, data, recipe, progress=bool(self.verbose), device=self.device)
        self.model_, self.history_ = trained.model, trained.history
        self.best_epoch_ = trained.best_epoch
        self.columns_, self.n_features_in_ = columns, table.shape[1]
        vars(self).pop("feature_names_in_", None)
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        if classes is not None:
            self.classes_ = classes
        return self

    def _table(self, X: Any) -> tuple[NDArray[Any], tuple[str, ...], dict[str, list[int]]]:
        """What ``fit`` is given: one table, the names of its columns, and whose they are."""
        if not is_parts(X):
            table, names = read_table(X)
            return table, names, columns_of(self.modalities, names, table.shape[1])
        if self.modalities is not None:
            raise ValueError("`modalities` must be None where `X` is a dict, which names them.")
        widths = {name: read_table(part)[0].shape[1] for name, part in X.items()}
        width = sum(widths.values())
        columns = columns_of(widths, (), width)
        return joined(X, columns, width), (), columns

    @abstractmethod
    def _target(self, y: NDArray[Any]) -> tuple[Tensor, NDArray[Any] | None]:
        """``y`` as :class:`Features` have it, and the classes it counts."""

    def _recipe(self, seed: int) -> Recipe:
        own = {
            one.name: getattr(self, one.name) for one in fields(Recipe) if hasattr(self, one.name)
        }
        return Recipe(**{name: _plain(value) for name, value in own.items()}, seed=seed)

    def _outputs(self, X: Any) -> Tensor:
        """What the model says of each sample, (n, outputs), float64."""
        if not hasattr(self, "model_"):
            raise of_sklearn("NotFittedError", ValueError)(
                f"this {type(self).__name__} is not fitted yet; call fit(X, y) first."
            )
        if is_parts(X):
            X = joined(X, self.columns_, self.n_features_in_)
        table, names = read_table(X)
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {table.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        learned = tuple(getattr(self, "feature_names_in_", ()))
        if names and learned and names != learned:
            wrong = next(i for i, name in enumerate(names) if name != learned[i])
            raise ValueError(
                f"`X` must have the columns that fit saw, in their order: column {wrong} is "
                f"{names[wrong]!r}, wanted {learned[wrong]!r}."
            )
        features, present = cut(table, self.columns_)
        return predict(self.model_, Features("`X`", features, present=present)).double().cpu()


def _names(estimator: FusionEstimator) -> list[str]:
    return [one.name for one in fields(estimator)]


def _plain(value: Any) -> Any:
    """A number of NumPy, as searches over a grid give them, as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _seed_of(state: Any) -> int:
    if state is None:
        return int(torch.randint(2**31 - 1, ()))
    if isinstance(state, np.random.RandomState):
        return int(state.randint(2**31 - 1))
    if isinstance(state, np.random.Generator):
        return int(state.integers(2**31 - 1))
    if isinstance(state, bool) or not isinstance(state, Integral) or state < 0:
        raise ValueError(
            f"`random_state` must be a whole number >= 0, None, or a generator of NumPy, got "
            f"{state!r}."
        )
    return int(state)


def of_samples(estimator: FusionEstimator, y: Any, samples: int) -> NDArray[Any]:
    """``y`` as an array, (n,) or (n, K)."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if values.ndim not in (1, 2) or len(values) != samples or not values.size:
        raise ValueError(
            f"`y` must be ({samples},) or ({samples}, K), one row for each of `X`, got "
            f"{values.shape}."
        )
    if values.ndim == 2 and values.shape[1] == 1:
        if estimator.kind == "classifier":
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected; y.ravel() is one.",
                of_sklearn("DataConversionWarning", UserWarning),
                stacklevel=users_level(),
            )
        values = values[:, 0]
    return values


def of_sklearn(name: str, otherwise: type[Any]) -> type[Any]:
    """An exception of scikit-learn, which who would catch it has imported; or its base."""
    found: type[Any] = getattr(sys.modules.get("sklearn.exceptions"), name, otherwise)
    return found
