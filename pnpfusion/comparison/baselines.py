"""Classical models that need no training loop: what a fusion layer has to beat.

They see each feature in units of its deviation in training, tokens averaged, modalities side by
side; a missing modality is at its mean. What regularises them is chosen from the few values that
stand here, by the validation samples; scikit-learn does the rest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.comparison.contestant import Contestant
from pnpfusion.data.feature_set import Features, target_of
from pnpfusion.data.scales import FeatureScales
from pnpfusion.data.task import Task
from pnpfusion.spelling import did_you_mean
from pnpfusion.training.models import MODELS, ONLY
from pnpfusion.training.objectives import Objective

Array = NDArray[Any]
LEAST = 1e-12  #: a probability of 0 is told as


@dataclass(frozen=True)
class Baseline:
    """A kind of classical model."""

    tasks: tuple[Task, ...]  #: what it can tell
    strengths: tuple[float, ...]  #: tried, of its regularisation
    fit: Callable[[Array, Array, Task, int, float], Callable[[Array], Array]]
    """From features (n, d), a target, its task, K and a strength to what gives outputs (n, K)."""
    counts: bool = True  #: whether its parameters are K (d + 1)
    is_sure: bool = True  #: whether outputs are logits


def _constant(x: Array, y: Array, task: Task, outputs: int, _: float) -> Callable[[Array], Array]:
    """The same for every sample: how frequent classes and labels are, or the mean of numbers."""
    if task == "classes":
        row = _logs(np.bincount(y, minlength=outputs) / len(y))
    elif task == "labels":
        share = y.mean(0)
        row = _logs(share) - _logs(1 - share)
    else:
        row = y.mean(0)
    return lambda x: np.repeat(row[None], len(x), 0)


def _logistic(x: Array, y: Array, task: Task, outputs: int, c: float) -> Callable[[Array], Array]:
    """Logistic regression, one for each label; log-probabilities of classes, logits of labels."""
    from sklearn.linear_model import LogisticRegression

    def fitted(target: Array) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that 2000 iterations were not enough
            return LogisticRegression(C=c, max_iter=2000).fit(x, target)

    if task == "classes":
        if len(np.unique(y)) == 1:
            return _constant(x, y, task, outputs, c)
        model = fitted(y)

        def told(x: Array) -> Array:
            found = np.full((len(x), outputs), np.log(LEAST))
            found[:, model.classes_] = _logs(model.predict_proba(x))
            return found

        return told
    return _by_label(y, lambda target: fitted(target).decision_function)


def _svm(x: Array, y: Array, task: Task, outputs: int, c: float) -> Callable[[Array], Array]:
    """A support vector machine with a Gaussian kernel; its classes or labels as 1 and 0, -1."""
    from sklearn.svm import SVC, SVR

    if task == "classes":
        if len(np.unique(y)) == 1:
            return _constant(x, y, task, outputs, c)
        model = SVC(C=c, gamma="scale").fit(x, y)
        return lambda x: np.eye(outputs)[model.predict(x)]
    if task == "labels":
        return _by_label(y, lambda target: SVC(C=c, gamma="scale").fit(x, target).decision_function)
    centre, spread = y.mean(0), np.where(y.std(0) > 0, y.std(0), 1.0)
    models = [SVR(C=c, gamma="scale").fit(x, column) for column in ((y - centre) / spread).T]
    return lambda x: centre + spread * np.stack([model.predict(x) for model in models], 1)


def _ridge(x: Array, y: Array, task: Task, outputs: int, c: float) -> Callable[[Array], Array]:
    """Linear regression with a penalty 1 / C."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / c).fit(x, y)
    return lambda x: np.asarray(model.predict(x)).reshape(len(x), -1)


#: By name; also as "NAME:MODALITY".
BASELINES: dict[str, Baseline] = {
    "constant": Baseline(("classes", "labels", "numbers"), (1.0,), _constant),
    "logistic": Baseline(("classes", "labels"), (0.001, 0.01, 0.1, 1.0, 10.0), _logistic),
    "ridge": Baseline(("numbers",), (0.001, 0.01, 0.1, 1.0, 10.0), _ridge),
    "svm": Baseline(
        ("classes", "labels", "numbers"), (0.2, 1.0, 5.0, 25.0), _svm, counts=False, is_sure=False
    ),
}


@dataclass(frozen=True)
class Asked:
    """A baseline that a name asks for."""

    kind: str
    modalities: tuple[str, ...]  #: that it sees


def baseline_of(model: str, dims: Mapping[str, int]) -> Asked | None:
    """The baseline of this name; None for a model that is trained.

    Raises:
        ValueError: one of a modality that is not there, or a name like no other.
    """
    kind, colon, name = model.partition(":")
    if kind in BASELINES:
        if colon and name not in dims:
            raise ValueError(
                f"the model {model!r} asks for a modality that is not there; there are {[*dims]}."
            )
        return Asked(kind, (name,) if colon else tuple(dims))
    if kind not in MODELS and not model.startswith(ONLY):
        known = [*MODELS, *BASELINES]
        advice = did_you_mean(model, known, f"there are {known} and {ONLY}NAME.")
        raise ValueError(f"no model is called {model!r}; {advice}")
    return None


def fit_baseline(asked: Asked, data: Features, objective: Objective) -> Contestant:
    """Fit it to the split "train" of the data, as strongly regularised as "valid" likes best."""
    baseline = BASELINES[asked.kind]
    view = _View(asked.modalities, FeatureScales.of(data.split("train")))
    train, valid = data.split("train"), data.split("valid")
    task = train.task or "classes"
    target, outputs = _target(train), objective.outputs
    best: tuple[float, float, Callable[[Array], Array]] | None = None
    for strength in baseline.strengths:
        told = baseline.fit(view.of(train), target, task, outputs, strength)
        told_of_valid = torch.from_numpy(told(view.of(valid)))
        found = objective.metrics(told_of_valid, target_of(valid))[objective.score]
        if best is None or found > best[0]:
            best = (found, strength, told)
    if best is None:
        raise ValueError(f"the baseline {asked.kind!r} has no strengths to try.")
    _, strength, answers = best

    def told_of(data: Features) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(answers(view.of(data))))

    is_constant = asked.kind == "constant"
    seen = 0 if is_constant else sum(train.dims[name] for name in asked.modalities)
    count = outputs * (seen + 1)
    return Contestant(
        told_of,
        count if baseline.counts else None,
        {"strength": strength} if len(baseline.strengths) > 1 else {},
        baseline.is_sure,
        (lambda _: 2.0 * outputs * seen) if baseline.counts else None,
    )


@dataclass(frozen=True)
class _View:
    """Features as the baselines see them."""

    names: tuple[str, ...]  #: of modalities
    scales: FeatureScales

    def of(self, data: Features) -> Array:
        """(n, d), side by side."""
        sides = []
        for name in self.names:
            scaled = self.scales.apply(name, data.modalities[name])
            scaled = scaled.mean(1) if scaled.ndim == 3 else scaled
            sides.append(torch.where(data.there(name)[:, None], scaled, 0))
        return np.asarray(torch.cat(sides, 1).numpy())


def _by_label(
    y: Array, fitted: Callable[[Array], Callable[[Array], Array]]
) -> Callable[[Array], Array]:
    """Outputs of one model for each label; where all or none of training has it, that is told."""
    models: list[Callable[[Array], Array]] = []
    for column in y.T:
        if column.all() or not column.any():
            sure = float(_logs(column.mean()) - _logs(1 - column.mean()))
            models.append(lambda x, sure=sure: np.full(len(x), sure))  # type: ignore[misc]
        else:
            models.append(fitted(column))
    return lambda x: np.stack([model(x) for model in models], 1)


def _logs(probabilities: Array) -> Array:
    return np.asarray(np.log(np.maximum(probabilities, LEAST)))


def _target(data: Features) -> Array:
    """Numbers as (n, K)."""
    target = target_of(data)
    return np.asarray((target.reshape(len(data), -1) if data.task == "numbers" else target).numpy())
