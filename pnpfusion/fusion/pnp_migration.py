"""Features as ions: they dissociate, migrate for a while, and are read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.pnp import PNP
from pnpfusion.dynamics.species import Species
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.pnp_attribution import IonAttribution, shares_past_the_middle
from pnpfusion.fusion.pnp_cells import Cells, Outset, Reached
from pnpfusion.fusion.pnp_encoder import Encoder, Encoders, where_present
from pnpfusion.fusion.pnp_parameters import Bounded, Range, debye_lengths
from pnpfusion.run.simulate import simulate
from pnpfusion.solution import Solution
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.reactions import Reaction
from pnpfusion.solvers.steppers.semi_implicit import AsymptoticPreserving

DissociationBy = Literal["direct", "reaction"]
Reading = Literal["both", "end", "start"]

GAIN = 0.7  #: of the maps at the start; concentrations vary by a third of themselves then
IONS = {"cation": 1.0, "anion": -1.0}
AT_START = 0.3  #: the weight of concentrations as they were at the start, beside those at the end
FREE = 0.1  #: the part of a solute's concentration that is there as ions from the beginning


class MigratingIons(Cells):
    r"""Every channel is a closed cell in which the ions of all modalities migrate.

    Each modality dissociates into cations, which stand for what modalities share, and anions, for
    what is specific to one, by two maps that are positive,

    .. math:: c_\pm(t=0) = \sum_m m_0 \,\mathrm{softplus}(W_{m\pm} x_m + b_{m\pm}) / \ln 2,

    and an absent modality brings as many of both, :math:`m_0`, everywhere. For the time
    ``duration`` they diffuse and drift in the applied potential (U between the walls,
    which drives cations towards ``"x-"``) and in the field of all. With
    ``dissociation="reaction"`` a modality brings a neutral solute instead, by one map, and the ions
    are made by mass action, solute <=> cation + anion, as they migrate.

    Learned per channel: the Debye length of ions of concentration 1, U, :math:`m_0`, the
    diffusivity of each kind of particle, and the rates of the reaction.
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
        duration: float,
        steps: int,
        dissociation: DissociationBy,
        reading: Reading,
    ) -> None:
        super().__init__(dims, coupled=coupled, channels=channels, cells=cells)
        self.duration, self.steps, self.reading = duration, steps, reading
        self.reacts = dissociation == "reaction"
        self.kinds = 3 if self.reacts else 2
        shape = (channels, cells) if self.reacts else (channels, 2, cells)
        self.dissociation = Encoders(dims, shape, encoder, hidden=hidden, gain=GAIN)
        self.reconstruction = nn.ModuleList(
            nn.Linear(self.numbers_at_end, width) for width in dims.values() if reading != "start"
        )
        one = torch.ones(channels)
        self.debye_length = debye_lengths(debye_length, 0.15, 0.45, channels, Range(0.03, 1.0))
        self.concentration = Bounded("concentration", 0.5 * one, Range(0.01, 50.0))
        self.applied_potential = Bounded(
            "applied_potential", torch.linspace(-10, 10, channels), Range(-30.0, 30.0)
        )
        self.diffusivity = Bounded(
            "diffusivity", torch.ones(channels, self.kinds), Range(0.03, 30.0)
        )
        if self.reacts:
            self.rates = Bounded("rates", torch.full((channels, 2), 10.0), Range(0.01, 1e3))

    @property
    def permittivity(self) -> Tensor:
        r""":math:`2 \lambda^2`, (channels,)."""
        return 2 * self.debye_length.values.square()

    @property
    def law(self) -> PNP:
        return self.law_of([*IONS])

    def law_of(self, ions: Sequence[str]) -> PNP:
        """The cell with species of these names, which end in the kind of ion."""
        diffusivities = dict(
            zip([*IONS, "solute"], self.diffusivity.values.unbind(1), strict=False)
        )
        species = []
        for name in ions:
            kind = name.split()[-1]
            species.append(Species(name, IONS[kind], diffusivities[kind]))
        reactions = []
        if self.reacts:
            species.append(Species("solute", 0.0, diffusivities["solute"]))
            forward, backward = self.rates.values.unbind(1)
            reactions.append(Reaction(["solute"], [*IONS], forward=forward, backward=backward))
        half = self.applied_potential.values / 2
        law = PNP(
            self.grid,
            species,
            permittivity=self.permittivity,
            walls={"x-": Wall(potential=-half), "x+": Wall(potential=half)},
            reactions=reactions,
        )
        law.warns = False  # layers of charge thinner than the cells are part of what is learned
        return law

    def outset(self, batch: Batch) -> Outset:
        """The particles of all modalities where their features put them."""
        amount = self.concentration.values[:, None] / math.log(2.0)
        if not self.reacts:
            amount = amount[:, None]
        brought = [amount * nn.functional.softplus(one) for one in self.dissociation(batch)]
        absent = self.concentration.values.reshape(-1, *(1,) * (amount.ndim - 1))
        parts = where_present(brought, batch, absent)
        u0 = self.together(parts)
        if self.reacts:
            ions = FREE * u0
            u0 = torch.stack([ions, ions, u0 - ions], -2)
        return Outset(u0, None, parts)

    def run(self, law: PNP, outset: Outset) -> Solution:
        times = torch.tensor([0.0, self.duration], dtype=torch.float64)
        return simulate(law, outset.u0, times, stepper=self.stepper)

    @property
    def stepper(self) -> AsymptoticPreserving:
        """Steps that keep concentrations positive whatever their length."""
        return AsymptoticPreserving(dt=self.duration / self.steps)

    def reach(self, law: PNP, outset: Outset) -> Reached:
        u0 = outset.u0
        times = torch.tensor([0.0, self.duration], dtype=torch.float64, device=u0.device)
        final, good = self.stepper.end(law.bind(u0), u0.flatten(0, -3), times)
        return Reached(final.reshape(u0.shape), good.reshape(u0.shape[:-2]))

    def potential_of(self, charge: Tensor) -> Tensor:
        r"""What charge ``(..., channels, cells)`` adds to the potential.

        Of a unit charge at y, between grounded walls, it is :math:`x (1 - y) / \varepsilon` for x
        before y, and the same with x and y exchanged past it; that of finite volumes is no other.
        """
        x = self.grid.coordinates(0).to(charge)
        green = torch.minimum(x[:, None], x) * (1 - torch.maximum(x[:, None], x)) / len(x)
        return charge @ green / self.permittivity[:, None]

    @property
    def potential_of_walls(self) -> Tensor:
        """What the walls add to it, (channels, cells): it rises evenly from -U/2 to U/2."""
        applied = self.applied_potential.values
        return applied[:, None] * (self.grid.coordinates(0).to(applied) - 0.5)

    def read(self, u0: Tensor, final: Tensor) -> Tensor:
        """The potential and the density of all ions at the end, and all particles at the start.

        ``(rows, numbers)``. The start holds what diffusion forgets, but nothing of two modalities
        together; it counts less at first, or a linear map would learn from it alone.
        """
        start = AT_START * u0.flatten(1)
        if self.reading == "start":
            return start
        cation, anion = final[..., 0, :], final[..., 1, :]
        phi = self.potential_of(cation - anion) + self.potential_of_walls
        end = [phi.flatten(1), (cation + anion).flatten(1)]
        return torch.cat([*end, start] if self.reading == "both" else end, 1)

    @property
    def numbers_at_end(self) -> int:
        """How many of the first numbers that :meth:`read` gives are of the end."""
        return (self.reading != "start") * 2 * self.boxes * self.shape[0] * self.shape[1]

    @property
    def numbers(self) -> int:
        kinds = (self.reading != "end") * self.kinds
        return self.numbers_at_end + kinds * self.boxes * self.shape[0] * self.shape[1]

    def reconstruct(self, read: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``"reconstruction"``: the mean square error of features told from the end of the run.

        Over all features of the modalities that a sample has, and then over the samples. None
        where the end is not read.
        """
        if self.reading == "start":
            return {}
        wrong, count = read.new_zeros(len(read)), read.new_zeros(len(read))
        ended = read[:, : self.numbers_at_end]
        present = batch.present
        if present is None:
            present = read.new_ones(len(read), len(self.reconstruction))
        for back, features, there in zip(
            self.reconstruction, batch.features.values(), present.to(read).unbind(1), strict=True
        ):
            wrong = wrong + (back(ended) - features).square().sum(1) * there
            count = count + features.shape[1] * there
        return {"reconstruction": (wrong / count).mean()}

    def attribute(
        self, names: Sequence[str], law: PNP, outset: Outset, final: Tensor
    ) -> IonAttribution:
        """The ions of each modality by themselves, in the field of all: see there.

        Raises:
            ValueError: ions are made by a reaction, which joins ions of different modalities.
        """
        if self.reacts:
            raise ValueError(
                "`attribution` follows the ions of each modality, and those that a reaction makes "
                'are of none in particular; use dissociation="direct".'
            )
        species = [f"{name} {ion}" for name in names for ion in IONS]
        begin = torch.cat(outset.parts, -2)
        end = self.reach(self.law_of(species), Outset(begin, None, outset.parts)).final
        begin, end = (c.unflatten(-2, (len(names), 2)).movedim(-3, 1) for c in (begin, end))
        charge = end[..., 0, :] - end[..., 1, :]
        past = (end - begin) @ shares_past_the_middle(begin) / self.shape[1]
        walls = self.potential_of_walls.expand(len(final), *self.shape)
        return IonAttribution(tuple(names), self.potential_of(charge), walls, past)
