"""The balance of a run: what must stay, what must fall, and what must not be negative."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ledger:
    """Mass, charge, free energy and smallest concentration of a run, at each saved time.

    float64 whatever the dtype of the run; NaN after a sample's failure.
    """

    times: Tensor  #: (T,), in L²/D_ref
    mass: Tensor  #: amount of each species, (T, *batch, species), in c_ref L^d
    conserved: Tensor
    """Totals that neither walls nor reactions change, (T, *batch, K): masses, or sums of some."""
    conserved_size: Tensor  #: what a change of these is small against, (*batch, K)
    charge: Tensor  #: net charge with the fixed charge, (T, *batch), in F c_ref L^d
    free_energy: Tensor  #: (T, *batch), in R T c_ref L^d
    gauss_error: Tensor
    """What Gauss' law is wrong by in the worst cell, against all charges, (T, *batch)."""
    smallest: Tensor  #: smallest concentration over all steps since the time before, (T, *batch)
    closed: tuple[bool, ...]  #: per species, whether its own mass should stay what it was
    species: tuple[str, ...]  #: their names

    @property
    def mass_error(self) -> Tensor:
        """Largest relative change of what is conserved, ``(*batch,)``; 0 if nothing is.

        What is not there at all is compared with what there is most of.
        """
        if not self.conserved.shape[-1]:
            return torch.zeros_like(self.charge[0])
        size, most = self.conserved_size, self.conserved_size.amax(-1, keepdim=True)
        size = torch.where(size > 0, size, most).clamp_min(torch.finfo(size.dtype).tiny)
        return _largest(((self.conserved - self.conserved[0]).abs() / size).amax(-1))

    @property
    def energy_drop(self) -> Tensor:
        """Free energy at the start less that at the last time a sample reached, ``(*batch,)``.

        NaN where a concentration is negative then: that state has no free energy.
        """
        last = (~self.mass.isnan().any(-1)).sum(0).clamp_min(1) - 1
        return (self.free_energy[0] - self.free_energy).gather(0, last[None])[0]

    @property
    def energy_largest_rise(self) -> Tensor:
        """Largest rise of the free energy from one saved time to the next, ``(*batch,)``; >= 0.

        NaN where a concentration was negative at a saved time: that state has no free energy.
        """
        rise = _largest(self.free_energy.diff(dim=0).clamp_min(0))
        unknown = self.free_energy.isnan() & ~self.mass.isnan().any(-1)
        return torch.where(unknown.any(0), torch.nan, rise)

    @property
    def min_concentration(self) -> Tensor:
        """Smallest concentration over all steps, not only the saved ones, ``(*batch,)``."""
        return self.smallest.nan_to_num(torch.inf, posinf=torch.inf).amin(0)

    def __str__(self) -> str:
        if not self.charge[0].numel():
            return "no samples"
        error = float(self.mass_error.max())
        rows = [
            ("mass error (relative)", f"{error:.1e}" if self.conserved.shape[-1] else "open cell"),
            ("free energy drop", f"{float(self.energy_drop.mean()):.4g}"),
            ("largest rise of free energy", f"{float(self.energy_largest_rise.max()):.1e}"),
            ("error of Gauss' law (relative)", f"{float(_largest(self.gauss_error).max()):.1e}"),
            ("smallest concentration", f"{float(self.min_concentration.min()):.3e}"),
        ]
        return "\n".join(line(name, value) for name, value in rows)


def line(name: str, value: str) -> str:
    """A line of a ledger as it is printed."""
    return f"{name:<31} {value:>12}"


def _largest(values: Tensor) -> Tensor:
    """The largest over time, 0 where there is nothing; NaN after a failure does not count."""
    if not len(values):
        return torch.zeros_like(values.sum(0))
    return values.nan_to_num(0.0, posinf=torch.inf).amax(0)
