"""Which fusion layers can be trained by name: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial

from torch import Tensor, nn

from pnpfusion.fusion.attention import Attention
from pnpfusion.fusion.concat import Concat
from pnpfusion.fusion.deq import DEQ
from pnpfusion.fusion.gmf import GMF
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.fusion.pnp import PNP
from pnpfusion.fusion.progressive import Progressive
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
MODELS: dict[str, Layer] = {
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
}


def modalities_of(model: str, dims: Mapping[str, int]) -> tuple[str, ...]:
    """Which modalities a model of this name sees: all, or one for ``"only:NAME"``.

    Raises:
        ValueError: no such model, or no such modality.
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
    if model not in MODELS:
        near = get_close_matches(model, MODELS, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"there are {[*MODELS]}."
        raise ValueError(
            f"`model` must be the name of one, or {ONLY}NAME with one of {[*dims]}, got "
            f"{model!r}; {advice}"
        )
    return tuple(dims)


def layer_of(model: str, dims: Mapping[str, int], out_dim: int) -> FusionLayer:
    """The fusion layer of the model of this name.

    Raises:
        ValueError: no such model, or dims that it cannot take (GMF wants two modalities or more).
    """
    seen = {name: dims[name] for name in modalities_of(model, dims)}
    return MODELS["concat" if model.startswith(ONLY) else model](seen, out_dim)
