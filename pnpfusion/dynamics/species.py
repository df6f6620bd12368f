"""What a cell holds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pnpfusion.solvers.field import Parameter


@dataclass(frozen=True, eq=False)
class Species:
    """One kind of charged particle."""

    name: str  #: what walls and pictures call it
    valence: float | Tensor  #: charge number z, shape () or (*batch,)
    diffusivity: Parameter = 1.0  #: D > 0 in D_ref: a number, (*batch,), or a Field
