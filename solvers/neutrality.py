"""What a cell must be whose potential no wall fixes: neutral and closed."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.faq import Faq


def check_neutral(
    name: str, net: Tensor, allowed: Tensor, *, instead: str = ", or give a wall a `potential`"
) -> None:
    """Raise ValueError if a sample has more of a net charge than round-off leaves.

    Args:
        name: what carries the charge, for the message.
        net: the charge of each sample, walls included, ``(B,)``.
        allowed: how much is none, ``(B,)``.
        instead: what else than balancing the charge would do.
    """
    if (net.abs() > allowed).any():
        worst = int((net.abs() - allowed).argmax())
        raise ValueError(
            f"`{name}` carries a net charge of {float(net[worst]):.3g} (sample {worst}), but no "
            f"wall fixes the potential, so it must be neutral; balance it, e.g. with "
            f"`fixed_charge`{instead} {Faq.NOT_NEUTRAL}."
        )


def check_closed(crossed: bool | Tensor) -> None:
    """Raise ValueError if a species crosses a wall, by a flag or one for each, bool ``(S,)``."""
    if torch.as_tensor(crossed).any():
        raise ValueError(
            "a cell whose species cross a wall needs a `potential` at one wall: without it the "
            f"cell's charge, and so its potential, has nothing to refer to {Faq.NOT_NEUTRAL}."
        )
