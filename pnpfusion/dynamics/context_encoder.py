"""An encoder that hears what has been fused so far."""

from __future__ import annotations

from itertools import islice
from typing import Any, cast

from torch import Tensor, nn

from pnpfusion.dynamics.like_parameters import floating_parameter
from pnpfusion.dynamics.place import Place


class ContextEncoder(nn.Module):
    r"""Any encoder with a context :math:`c = W z` added at one of its modules.

    .. math:: m(v) \;\to\; m(v) + C\,W z, \qquad W \in \mathbb{R}^{k \times q},\;
        C \in \mathbb{R}^{v \times k},

    both without bias, so z = 0 is the encoder alone. For a linear module this is the same as
    concatenating the context to its input, with C its extra columns. The addition is a forward hook
    that lives for one call: nothing stays on the encoder. Where the module is a top-level entry of
    a plain ``nn.Sequential``, the entries before it do not depend on z: :meth:`before` runs them
    once for many z, entries are called one by one, and no hook is needed.

    Args:
        encoder: batch first, as all that is inside it.
        place: where the context enters, with its width; see :meth:`Place.within`.
        width: q, of z.
        context: k, of the context.
    """

    def __init__(self, encoder: nn.Module, place: Place, width: int, context: int) -> None:
        super().__init__()
        if place.width is None:
            raise ValueError("`place` must know its width; see Place.within.")
        like = floating_parameter(encoder)
        kind = (None, None) if like is None else (like.device, like.dtype)
        self.encoder = encoder
        self.place = place
        self.context = nn.Linear(width, context, False, *kind)
        self.columns = nn.Linear(context, place.width, False, *kind)
        self.entry = _top_entry(encoder, place)

    def before(self, x: Any) -> Any:
        """What the entries before the place make of ``x``; ``x`` itself where there are none."""
        for entry in islice(self._entries(), self.entry):
            x = entry(x)
        return x

    def forward(self, x: Any, z: Tensor, begun: bool = False) -> Tensor:
        """The encoding under ``z`` (batch, q).

        Args:
            x: the features (batch, ...).
            z: what has been fused so far.
            begun: whether ``x`` is what :meth:`before` returned instead.

        Raises:
            ValueError: the place was not reached, or its output does not fit; see
                :meth:`Place.add`.
        """
        extra = self.columns(self.context(z))
        if self.entry is None:
            return self._hooked(x, extra)
        if not begun:
            x = self.before(x)
        for i, entry in enumerate(self._entries()[self.entry :]):
            x = entry(x) if i else self.place.add(entry(x), extra)
        return cast(Tensor, x)

    def _entries(self) -> list[nn.Module]:
        return [] if self.entry is None else [*cast(nn.Sequential, self.encoder)]

    def _hooked(self, x: Any, extra: Tensor) -> Tensor:
        reached = []

        def add(module: nn.Module, arguments: object, output: object) -> Tensor:
            reached.append(True)
            return self.place.add(output, extra)

        handle = self.encoder.get_submodule(self.place.name).register_forward_hook(add)
        try:
            encoding: Tensor = self.encoder(x)
        finally:
            handle.remove()
        if not reached:
            raise ValueError(
                f"the encoder did not call its module {self.place.name!r}, so no context could "
                f"enter; take one that it calls."
            )
        return encoding


def _top_entry(encoder: nn.Module, place: Place) -> int | None:
    """Which entry of a plain ``nn.Sequential`` the place is; None if it is none, or in several."""
    if not isinstance(encoder, nn.Sequential) or type(encoder).forward is not nn.Sequential.forward:
        return None
    module = encoder.get_submodule(place.name)
    holders = [i for i, entry in enumerate(encoder) if any(m is module for m in entry.modules())]
    return holders[0] if len(holders) == 1 and encoder[holders[0]] is module else None
