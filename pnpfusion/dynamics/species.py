"""What a cell holds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pnpfusion.solvers.field import Parameter


@dataclass(frozen=True, eq=False)
class Species:
    """One kind of charged particle.

    Raises:
        ValueError: a name that is no text, or text in the place of a number. The numbers are
            checked when a run starts, since what suits them depends on the batch.
    """

    name: str  #: what walls and pictures call it
    valence: float | Tensor  #: charge number z, shape () or (*batch,)
    diffusivity: Parameter = 1.0  #: D > 0 in D_ref: a number, (*batch,), or a Field

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"`name` of a Species must be a word, got {self.name!r}.")
        for what in ("valence", "diffusivity"):
            value = getattr(self, what)
            if isinstance(value, str):
                raise ValueError(
                    f"`{what}` of {self.name!r} must be a number or a tensor, got {value!r}; write "
                    f"it without quotes."
                )
