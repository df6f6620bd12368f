"""Features as fixed charge: cells of electrolyte at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp import PNP
from pnpfusion.dynamics.species import Species
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.pnp_attribution import ChargeAttribution, attribute_rest
from pnpfusion.fusion.pnp_cells import Cells, Outset, Reached
from pnpfusion.fusion.pnp_encoder import Encoder, Encoders, where_present
from pnpfusion.fusion.pnp_parameters import Bounded, Range, debye_lengths
from pnpfusion.run.equilibrium import equilibrium
from pnpfusion.solution import Solution
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.compiled.salt import knows_salt, salt_at_rest
from pnpfusion.solvers.field import Field

#: Standard deviation of the charge that features of variance 1 bring at the start, in F c_ref.
GAIN = 14.0
#: What fixed charge is multiplied by as it is read. It is linear in the features: much of it, and
#: the layer learns to add modalities before it learns to multiply them; none, and it adds badly.
CHARGE_READ = 0.1


class RestingCells(Cells):
    r"""Every channel is a cell of a 1:1 electrolyte between a reservoir and a blocking electrode.

    .. math:: -2 \lambda^2 c_0 \phi'' + 2 c_0 \sinh\phi = \sum_m q_m(x_m), \qquad
              \phi(0) = 0, \; \phi(1) = V,

    with the charge :math:`q_m` that modality m fixes in the cell. The Debye length
    :math:`\lambda`, the reservoir's concentration :math:`c_0` and the voltage V are learned, one
    each per channel. With ``coupled=False`` each modality has cells of its own, of the same
    parameters.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        encoder: Encoder,
        hidden: int,
        coupled: bool,
        channels: int,
        cells: int,
        debye_length: float | None,
    ) -> None:
        super().__init__(dims, coupled=coupled, channels=channels, cells=cells)
        self.charges = Encoders(dims, self.shape, encoder, hidden=hidden, gain=GAIN)
        finest = 4.001 / cells  # of what the grid resolves, see `warn_if_coarse`
        start = max(0.3, 1.2 * finest)
        self.debye_length = debye_lengths(
            debye_length, start, 2 * start, channels, Range(finest, 10 * start)
        )
        self.concentration = Bounded("concentration", torch.ones(channels), Range(0.01, 100.0))
        self.applied_potential = Bounded(
            "applied_potential", torch.linspace(-1, 1, channels), Range(-20.0, 20.0)
        )

    @property
    def permittivity(self) -> Tensor:
        r""":math:`2 \lambda^2 c_0`, (channels,)."""
        return 2 * self.debye_length.values.square() * self.concentration.values

    @property
    def law(self) -> PNP:
        outside = self.concentration.values
        return PNP(
            self.grid,
            [Species("cation", 1.0), Species("anion", -1.0)],
            permittivity=self.permittivity,
            walls={
                "x-": Wall(potential=0.0, concentration={"cation": outside, "anion": outside}),
                "x+": Wall(potential=self.applied_potential.values),
            },
        )

    def outset(self, batch: Batch) -> Outset:
        """The reservoir's electrolyte all over, and the charge of all modalities."""
        charges = where_present(self.charges(batch), batch, self.concentration.raw.new_zeros(()))
        charge = self.together(charges)
        outside = self.concentration.values.detach()[:, None, None]
        u0 = outside.expand(*charge.shape[:-1], 2, charge.shape[-1])
        return Outset(u0, {"fixed_charge": Field(charge)}, charges)

    def run(self, law: PNP, outset: Outset) -> Solution:
        return equilibrium(law, outset.u0, x=outset.x)

    def reach(self, law: PNP, outset: Outset) -> Reached:
        u0 = outset.u0
        rest = law.rest(u0, outset.x, 1e-9 if u0.dtype == torch.float64 else 1e-4)
        good = rest.converged & rest.c.detach().isfinite().flatten(1).all(1)
        return Reached(rest.c.reshape(u0.shape), good.reshape(u0.shape[:-2]))

    def read(self, u0: Tensor, final: Tensor) -> Tensor:
        r"""The potential and :math:`\ln(1 + c_+ + c_- - 2 c_0)`, ``(rows, numbers)``.

        At rest :math:`c_\pm = c_0 e^{\mp\phi}`: the second, which is even in the potential, is what
        makes products of modalities.
        """
        (cation, anion), outside = final.unbind(-2), self.concentration.values[:, None]
        phi = anion.log() - outside.log()
        excess = torch.log1p(cation + anion - 2 * outside)
        return torch.stack([phi, excess], 1).flatten(1)

    def answer(self, outset: Outset, run: Solution | None) -> tuple[Tensor, Tensor]:
        """See :class:`Cells`; the fixed charge too, and from it alone where that is compiled."""
        charge = self.together(outset.parts)
        read, good = self._answer(outset, charge, run)
        charge = torch.where(good[..., None], charge, 0)
        return torch.cat([read, CHARGE_READ * charge.flatten(1)], 1), good

    def _answer(
        self, outset: Outset, charge: Tensor, run: Solution | None
    ) -> tuple[Tensor, Tensor]:
        if not knows_salt(charge):
            return super().answer(outset, run)
        outside, applied = self.concentration.values, self.applied_potential.values
        cells = charge.flatten(1, -2)  # channels of each modality if they are apart
        read, good, _ = salt_at_rest(cells, self.permittivity, outside, applied)
        if not bool(good.all()):  # the law has one more way
            other, found = super().answer(outset, run)
            read = torch.where(good[:, None, :, None], read, other.reshape(read.shape))
            good = good | found.flatten(1)
        return read.flatten(1), good.reshape(charge.shape[:-1])

    def attribute(
        self, names: Sequence[str], law: PNP, outset: Outset, final: Tensor
    ) -> ChargeAttribution:
        """See :func:`attribute_rest`."""
        return attribute_rest(names, law, final, outset.x, torch.stack(outset.parts, 1))

    @property
    def numbers(self) -> int:
        return 3 * self.boxes * self.shape[0] * self.shape[1]
