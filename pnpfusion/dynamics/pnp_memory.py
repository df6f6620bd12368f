"""What a cell remembers of its last run, so that the next one like it does not build it anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
#: Of those beyond which a state is checked in each run, since a copy of it would take room.
MOST_COPIED = 2**18

Facts = tuple[Any, ...]

_TENSORS = (Tensor, nn.Parameter)
_UNCHANGING = (int, float, str, Grid, torch.dtype, torch.device)


class Memory:
    """The last cell that was bound, with all it was made from, and a state it may start from.

    Tensors are compared by value with copies of what they were, so it does not matter how they were
    changed: in place, under numpy's hands, or by another tensor. One tuple is read and replaced at
    a time, so threads may share it. Copies and pickles of a cell remember nothing.
    """

    def __init__(self) -> None:
        self._last: tuple[Facts, BoundPNP] | None = None
        self._fit: tuple[Tensor, BoundPNP] | None = None
        self._lent: list[tuple[Facts, list[int], BoundPNP]] = []

    def recall(self, facts: Facts) -> BoundPNP | None:
        """What was kept under the same facts."""
        last = self._last
        if last is None or len(last[0]) != len(facts) or is_transformed():
            return None
        pairs = zip(last[0], facts, strict=True)
        # What was copied is never the same object, so every tensor and Field is looked at.
        same = all(_is_same(known, fact) for known, fact in pairs if known is not fact)
        return last[1] if same else None

    def keep(self, facts: Facts, bound: BoundPNP) -> None:
        """Remember ``bound``, made from ``facts`` that :func:`are_lasting`, and nothing else."""
        self._last = tuple(map(_copied, facts)), bound

    def is_fit(self, facts: Facts, u: Tensor) -> bool:
        """Whether a cell made of ``facts`` was last found fit to start, from ``u`` by value."""
        fit = self._fit
        return fit is not None and self.recall(facts) is fit[1] and _is_same(fit[0], u.detach())

    def found_fit(self, bound: BoundPNP, u: Tensor) -> None:
        """Remember that ``bound`` may start from ``u`` and that there is nothing to warn of."""
        met_again = self._last is not None and self._last[1] is bound
        if met_again and u.numel() <= MOST_COPIED:
            self._fit = u.clone(), bound

    def lend(self, facts: Facts, bound: BoundPNP) -> None:
        """Keep ``bound``, with whatever gradient, for the next call from the very same ``facts``.

        A graph serves one run, so it is lent once.
        """
        with torch.no_grad():
            lasting = are_lasting(facts)
        if lasting and torch.is_grad_enabled():
            self._lent[:] = [(facts, _versions(facts), bound)]

    def borrow(self, facts: Facts) -> BoundPNP | None:
        """What was lent for the same ``facts``; in any case nothing is lent any more."""
        try:
            known, versions, bound = self._lent.pop()
        except IndexError:
            return None
        if len(known) != len(facts) or is_transformed() or not torch.is_grad_enabled():
            return None
        pairs = zip(known, facts, strict=True)
        same = all(a is b or (not isinstance(a, Tensor | Field) and a == b) for a, b in pairs)
        return bound if same and versions == _versions(facts) else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()


def facts_of(
    like: Tensor,
    settings: Iterable[Any],
    species: Iterable[Species],
    walls: Mapping[str, Any],
    reactions: Iterable[Any],
    x: Input,
) -> Facts:
    """Everything that a cell for states as ``like`` is made from, in one row."""
    facts = [*settings, like.dtype, like.device, torch.is_inference_mode_enabled()]
    if type(like) not in _TENSORS:
        facts.append(like)  # which does not last
    for one in species:
        facts += one.name, one.valence, one.diffusivity
    for side, parts in walls.items():
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
    for reaction in reactions:
        if not isinstance(reaction, Reaction):
            facts.append(reaction)
            continue
        facts += reaction.reactants, reaction.products, reaction.forward, reaction.backward
    if isinstance(x, Mapping):
        facts += x.keys()
        facts += x.values()
    elif x is not None:
        facts.append(x)
    return tuple(facts)


def are_lasting(facts: Facts) -> bool:
    """Whether what is made of ``facts`` can be used again while they are the same.

    Not if one is a function of time, a tensor whose derivative is taken, or one that stands for
    others (of a subclass, or inside a transform of torch's).
    """
    return not is_transformed() and all(map(_is_lasting, facts))


def _is_lasting(fact: Any) -> bool:
    values = fact.values if type(fact) is Field else fact
    if isinstance(values, Tensor):
        return _is_plain(values)
    if isinstance(values, tuple):  # a batch shape or names
        return all(isinstance(one, int | str) for one in values)
    return values is None or isinstance(values, _UNCHANGING)


def _copied(fact: Any) -> Any:
    if type(fact) is Field:
        return Field(fact.values.detach().clone())
    return fact.detach().clone() if isinstance(fact, Tensor) else fact


def _is_same(known: Any, fact: Any) -> bool:
    if type(known) is Field:
        return type(fact) is Field and _is_same(known.values, fact.values)
    if isinstance(known, Tensor):
        return (
            isinstance(fact, Tensor)
            and _is_plain(fact)
            and known.dtype == fact.dtype
            and known.device == fact.device
            and torch.equal(known, fact)
        )
    return type(known) is type(fact) and bool(known == fact)


def _versions(facts: Facts) -> list[int]:
    tensors = (fact.values if type(fact) is Field else fact for fact in facts)
    return [one._version for one in tensors if isinstance(one, Tensor)]


def _is_plain(values: Tensor) -> bool:
    followed = values.requires_grad and torch.is_grad_enabled()
    return type(values) in _TENSORS and not followed
