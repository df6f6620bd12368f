"""Everything that a PNP cell is made of for one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.dynamics.pnp_input import walls_under
from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.boundary import Wall, Walls
from pnpfusion.solvers.cell import Cell
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.chebyshev_electrolyte import ChebyshevElectrolyte
from pnpfusion.solvers.field import Field, Parameter
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import is_transformed
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.reactions import Reaction
from pnpfusion.solvers.spectral import SpectralElectrolyte

#: Ingredients in one row.
Facts = tuple[Any, ...]

#: Tensors that stand for nothing else.
TENSORS = (Tensor, nn.Parameter)
_UNCHANGING = (int, float, str, Grid, torch.dtype, torch.device)


class Ingredients(NamedTuple):
    """What a cell is made of: the arguments of :class:`PNP`, the input, the batch and the time."""

    grid: Grid
    scheme: Scheme
    species: Sequence[Species]
    walls: Walls
    permittivity: Parameter
    fixed_charge: Parameter
    steric: Parameter | None
    reactions: Sequence[Reaction]
    x: Input
    batch: tuple[int, ...]
    like: Tensor  #: whose dtype and device the cell takes
    t: float | Tensor | None  #: for walls that change with it

    def build(self) -> Cell:
        """The cell, its parameters checked and spread over a flat batch."""
        ions = (
            [one.name for one in self.species],
            [one.valence for one in self.species],
            [one.diffusivity for one in self.species],
        )
        charge = self.x.get("fixed_charge") if isinstance(self.x, Mapping) else None
        common: dict[str, Any] = {
            "permittivity": self.permittivity,
            "walls": walls_under(self.grid, self.walls, self.x),
            "fixed_charge": self.fixed_charge if charge is None else charge,
            "batch": self.batch,
            "like": self.like,
        }
        t = None if self.t is None else torch.as_tensor(self.t).to(self.like).expand(self.batch)
        if isinstance(self.grid, ChebyshevGrid):
            return ChebyshevElectrolyte.build(self.grid, *ions, t=t, **common)
        if self.scheme == "spectral":
            return SpectralElectrolyte.build(self.grid, *ions, **common)
        return Electrolyte.build(
            self.grid,
            *ions,
            scheme=FACE_SCHEMES[self.scheme],
            steric=self.steric,
            reactions=self.reactions,
            t=t,
            **common,
        )

    def at(self, t: Tensor) -> Ingredients:
        """The same at the times ``t`` ``(B,)``."""
        return self._replace(t=t.reshape(self.batch))

    def facts(self) -> Facts:
        """All that a cell depends on whose walls do not change with time."""
        like = self.like
        facts: list[Any] = [
            *(self.batch, self.grid, self.scheme),
            *(self.permittivity, self.fixed_charge, self.steric),
            *(like.dtype, like.device, torch.is_inference_mode_enabled()),
        ]
        if type(like) not in TENSORS:
            facts.append(like)  # which does not last
        for one in self.species:
            facts += one.name, one.valence, one.diffusivity
        for side, parts in self.walls.items():
            facts.append(side)
            for wall in parts if isinstance(parts, Sequence) else (parts,):
                if not isinstance(wall, Wall):  # put there later
                    facts.append(wall)
                    continue
                facts += wall.potential, wall.surface_charge, wall.stern, wall.mask
                for given in (wall.concentration, wall.flux):
                    if given:
                        facts += given.keys()
                        facts += given.values()
                    facts.append(None)
        for reaction in self.reactions:
            if not isinstance(reaction, Reaction):
                facts.append(reaction)
                continue
            facts += reaction.reactants, reaction.products, reaction.forward, reaction.backward
        if isinstance(self.x, Mapping):
            facts += self.x.keys()
            facts += self.x.values()
        elif self.x is not None:
            facts.append(self.x)
        return tuple(facts)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Ingredients:
        """The same with ``change`` of every tensor; its facts :func:`are_lasting`."""

        def of(value: Any) -> Any:
            if isinstance(value, Tensor):
                return change(value)
            if isinstance(value, Field):
                return Field(change(value.values))
            if isinstance(value, Mapping):
                return {key: of(one) for key, one in value.items()}
            return value

        def of_wall(wall: Wall) -> Wall:
            return Wall(*(of(getattr(wall, what)) for what in Wall.__dataclass_fields__))

        return self._replace(
            like=self.like.new_empty(()),
            species=[
                Species(one.name, of(one.valence), of(one.diffusivity)) for one in self.species
            ],
            walls={
                side: tuple(map(of_wall, parts)) if isinstance(parts, Sequence) else of_wall(parts)
                for side, parts in self.walls.items()
            },
            permittivity=of(self.permittivity),
            fixed_charge=of(self.fixed_charge),
            steric=of(self.steric),
            reactions=[
                replace(one, forward=of(one.forward), backward=of(one.backward))
                for one in self.reactions
            ],
            x=of(self.x),
        )


def tensors_of(facts: Facts) -> list[Tensor]:
    """Every tensor among ``facts``, in order."""
    values = (fact.values if type(fact) is Field else fact for fact in facts)
    return [one for one in values if isinstance(one, Tensor)]


def are_lasting(facts: Facts) -> bool:
    """Whether what is made of ``facts`` can be used again while their values are the same.

    Not if one is a function of time, or a tensor that stands for others (of a subclass, or inside a
    transform of torch's).
    """
    return not is_transformed() and all(map(_is_lasting, facts))


def are_followed(facts: Facts) -> bool:
    """Whether a derivative is taken by one of ``facts``."""
    if torch.is_grad_enabled():
        for fact in facts:  # a loop is quicker, and this stands before every run
            values = fact.values if type(fact) is Field else fact
            if isinstance(values, Tensor) and values.requires_grad:
                return True
    return False


def _is_lasting(fact: Any) -> bool:
    values = fact.values if type(fact) is Field else fact
    if isinstance(values, Tensor):
        return type(values) in TENSORS
    if isinstance(values, tuple):  # a batch shape or names
        return all(isinstance(one, int | str) for one in values)
    return values is None or isinstance(values, _UNCHANGING)
