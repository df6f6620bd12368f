"""Which fusion layers can be trained by name: one line each."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from pnpfusion.fusion.attention import Attention
from pnpfusion.fusion.completion import Completion
from pnpfusion.fusion.concat import Concat
from pnpfusion.fusion.deq import DEQ
from pnpfusion.fusion.gmf import GMF
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.fusion.pnp import PNP
from pnpfusion.fusion.progressive import Progressive
from pnpfusion.solvers.fixed_point.gradient import Gradient, Implicit, Phantom
from pnpfusion.spelling import did_you_mean
from pnpfusion.training.chain import Chain, Layer

ONLY = "only:"  #: before a modality's name: the baseline that sees nothing else


class HiddenConcat(FusionLayer):
    r"""Concatenation with one hidden layer, :math:`y = B \max(0, A [x_1, \dots, x_N] + a) + b`.

    The baseline that can form products of modalities. An absent modality is zero.

    Args:
        dims: the width of each modality, by name.
        out_dim: the width of y and of the hidden layer.
    """

    dynamics = None

    def __init__(self, dims: Mapping[str, int], out_dim: int) -> None:
        super().__init__(dims, out_dim)
        self.concat = Concat(dims, out_dim)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(out_dim, out_dim))

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        fused, _ = self.concat.fuse(batch, return_info)
        answer: Tensor = self.rest(fused)
        return answer, None


def before(front: Layer, back: Layer) -> Layer:
    """The layer ``front`` as front end of ``back``; see :class:`Chain`."""
    return partial(Chain, front, back)


#: Every model that has a name, made from (dims, out_dim); beside them "only:NAME" of a modality.
MODELS: dict[str, Callable[..., FusionLayer]] = {
    "concat": Concat,
    "concat-mlp": HiddenConcat,
    "attention": Attention,
    "gmf": GMF,
    "deq": DEQ,
    "deq-paper": partial(DEQ, cell="paper"),
    "progressive": Progressive,
    "pnp": PNP,
    "pnp-transient": partial(PNP, run="transient"),
    "gmf+deq": lambda dims, out_dim: GMF(dims, out_dim, backend=DEQ(dims, out_dim)),
    "pnp+deq": before(PNP, DEQ),
    "pnp+progressive": before(PNP, Progressive),
    "completion+concat": lambda dims, out_dim: Completion(Concat(dims, out_dim)),
    "completion+pnp": lambda dims, out_dim: Completion(PNP(dims, out_dim)),
}


#: What the option ``gradient`` may be.
GRADIENTS: dict[str, Gradient] = {
    "implicit": Implicit(),
    "phantom": Phantom(),
    "phantom-5": Phantom(5),
}
#: Arguments of layers that a text cannot give.
NO_OPTIONS = ("dims", "out_dim", "backend", "solver")


def named(model: str) -> tuple[str, dict[str, Any]]:
    """A model's name and the options after it: ``pnp:coupled=false,cells=32``, ``deq:tol=1e-2``.

    Options are arguments of the layer that :data:`MODELS` names: numbers, true, false, none or
    words; ``gradient`` is one of :data:`GRADIENTS`.

    Raises:
        ValueError: an option that the layer does not have, that is there twice, or that is no such
            value. Whether it is in its range, the layer says.
    """
    name, _, text = model.partition(":")
    if name not in MODELS or not text:
        return model, {}
    known = [one for one in inspect.signature(MODELS[name]).parameters if one not in NO_OPTIONS]
    options: dict[str, Any] = {}
    for option in text.split(","):
        key, equals, word = option.partition("=")
        if key not in known or not equals or key in options:
            has = f"options {known}, each NAME=VALUE and once" if known else "no options"
            raise ValueError(f"the model {name!r} has {has}, got {option!r}.")
        options[key] = _value(key, word)
    return name, options


def _value(key: str, word: str) -> Any:
    if key == "gradient":
        if word not in GRADIENTS:
            raise ValueError(f"the option 'gradient' must be one of {[*GRADIENTS]}, got {word!r}.")
        return GRADIENTS[word]
    if word == "none":
        return None
    try:
        value = json.loads(word)
    except ValueError:
        return word
    if not isinstance(value, bool | int | float):
        raise ValueError(f"the option {key!r} must be a number or a word, got {word!r}.")
    return value


def modalities_of(model: str, dims: Mapping[str, int]) -> tuple[str, ...]:
    """Which modalities a model of this name sees: all, or one for ``"only:NAME"``.

    Raises:
        ValueError: no such model, option or modality.
    """
    if not isinstance(model, str):
        raise ValueError(f"`model` must be a name, got {model!r}.")
    if model.startswith(ONLY):
        name = model.removeprefix(ONLY)
        if name not in dims:
            raise ValueError(
                f"`model` {model!r} asks for a modality that is not there; there are {[*dims]}."
            )
        return (name,)
    if named(model)[0] not in MODELS:
        advice = did_you_mean(model, MODELS, f"there are {[*MODELS]}.")
        raise ValueError(
            f"`model` must be the name of one, or {ONLY}NAME with one of {[*dims]}, got "
            f"{model!r}; {advice}"
        )
    return tuple(dims)


def layer_of(model: str, dims: Mapping[str, int], out_dim: int) -> FusionLayer:
    """The fusion layer of the model of this name.

    Raises:
        ValueError: no such model or option, an option out of its range, or dims that it cannot take
            (GMF wants two modalities or more).
    """
    seen = {name: dims[name] for name in modalities_of(model, dims)}
    name, options = ("concat", {}) if model.startswith(ONLY) else named(model)
    return MODELS[name](seen, out_dim, **options)
