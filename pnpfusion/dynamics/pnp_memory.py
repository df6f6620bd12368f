"""What a cell remembers of its last run, so that the next one like it does not build it anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.base import Input
from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.field import Field
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import is_transformed
from pnpfusion.solvers.reactions import Reaction

if TYPE_CHECKING:
    from pnpfusion.dynamics.pnp_bound import BoundPNP

#: Numbers in a state beyond which nothing is remembered: building is then a small part of a run.
MOST_REMEMBERED = 2**20

Facts = tuple[Any, ...]

_UNCHANGING = (int, float, str, Grid, torch.dtype, torch.device)


class Memory:
    """The last cell that was bound, with everything it was made from.

    Tensors are compared by value with copies of what they were, so it does not matter how they were
    changed: in place, under numpy's hands, or by another tensor. One tuple is read and replaced at
    a time, so threads may share it. Copies and pickles of a cell remember nothing.
    """

    def __init__(self) -> None:
        self._last: tuple[Facts, BoundPNP] | None = None

    def recall(self, facts: Facts) -> BoundPNP | None:
        """What was kept under the same facts."""
        last = self._last
        if last is None or len(last[0]) != len(facts):
            return None
        return last[1] if all(map(_is_same, last[0], facts)) else None

    def keep(self, facts: Facts, bound: BoundPNP) -> None:
        """Remember ``bound``, made from ``facts``, instead of what was known before."""
        self._last = tuple(map(_copied, facts)), bound

    def __deepcopy__(self, memo: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()


def facts_of(
    settings: Iterable[Any],
    species: Iterable[Species],
    walls: Mapping[str, Wall | tuple[Wall, ...]],
    reactions: Iterable[Reaction],
    x: Input,
) -> Facts | None:
    """Everything that a cell is made from, in one row.

    None where it may not be made once for all: a function of time, a tensor whose derivative is
    taken, or one that stands for others (of a subclass, or inside a transform of torch's).
    """
    facts = [*settings, torch.is_inference_mode_enabled()]
    for one in species:
        facts += one.name, one.valence, one.diffusivity
    for side, parts in walls.items():
        facts.append(side)
        for wall in (parts,) if isinstance(parts, Wall) else parts:
            facts += wall.potential, wall.surface_charge, wall.stern, wall.mask
            for given in (wall.concentration, wall.flux):
                if given:
                    facts += given.keys()
                    facts += given.values()
                facts.append(None)
    for reaction in reactions:
        facts += reaction.reactants, reaction.products, reaction.forward, reaction.backward
    if x is not None:
        if not isinstance(x, Mapping):
            return None
        facts += x.keys()
        facts += x.values()
    known = not is_transformed() and all(map(_is_known, facts))
    return tuple(facts) if known else None


def _is_known(fact: Any) -> bool:
    values = fact.values if type(fact) is Field else fact
    if isinstance(values, Tensor):
        return type(values) in (Tensor, nn.Parameter) and not (
            values.requires_grad and torch.is_grad_enabled()
        )
    if isinstance(values, tuple):  # a batch shape or names
        return all(isinstance(one, int | str) for one in values)
    return values is None or isinstance(values, _UNCHANGING)


def _copied(fact: Any) -> Any:
    if type(fact) is Field:
        return Field(fact.values.detach().clone())
    return fact.detach().clone() if isinstance(fact, Tensor) else fact


def _is_same(known: Any, fact: Any) -> bool:
    if known is fact:  # never of a tensor or a Field: those known are copies
        return True
    if type(known) is Field:
        return type(fact) is Field and _is_same(known.values, fact.values)
    if isinstance(known, Tensor):
        return (
            isinstance(fact, Tensor)
            and known.dtype == fact.dtype
            and known.device == fact.device
            and torch.equal(known, fact)
        )
    return type(known) is type(fact) and bool(known == fact)
