"""What a cell remembers of its last run, so that the next one like it does not build it anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.dynamics.pnp_ingredients import TENSORS, Facts, are_lasting, tensors_of
from pnpfusion.solvers.field import Field
from pnpfusion.solvers.implicit_solve import is_transformed

#: Numbers in a state beyond which nothing is remembered: building is then a small part of a run.
MOST_REMEMBERED = 2**20
#: Of those beyond which a state is checked in each run, since a copy of it would take room.
MOST_COPIED = 2**18


class Memory:
    """The last cell that was bound, with all it was made from, and a state it may start from.

    What is kept is made of copies, without a derivative by anything outside. Tensors are compared
    with the copies by value, so it does not matter how they were changed: in place, under numpy's
    hands, or by another tensor. One tuple is read and replaced at a time, so threads may share it.
    Copies and pickles of a cell remember nothing.
    """

    def __init__(self) -> None:
        self._last: tuple[Facts, BoundPNP] | None = None
        self._fit: tuple[Tensor, BoundPNP] | None = None
        self._lent: list[tuple[Facts, list[int], BoundPNP]] = []

    def recall(self, facts: Facts) -> BoundPNP | None:
        """What was kept under the same facts, whether or not derivatives are taken by them."""
        last = self._last
        if last is None or len(last[0]) != len(facts) or is_transformed():
            return None
        for known, fact in zip(last[0], facts, strict=True):
            # What was copied is never the same object, so every tensor and Field is looked at.
            if known is not fact and not _is_same(known, fact):
                return None
        return last[1]

    def keep(self, facts: Facts, bound: BoundPNP) -> None:
        """Remember ``bound``, made of ``facts`` that nobody else holds, and nothing else."""
        self._last = facts, bound

    def is_fit(self, bound: BoundPNP, u: Tensor) -> bool:
        """Whether ``bound``, as recalled, was last found fit to start, from ``u`` by value."""
        fit = self._fit
        return fit is not None and bound is fit[1] and _is_same(fit[0], u)

    def found_fit(self, facts: Facts, u: Tensor) -> None:
        """Remember that a cell of ``facts`` may start from ``u``, with nothing to warn of."""
        known = self.recall(facts) if u.numel() <= MOST_COPIED else None
        if known is not None:  # else it is not met again
            self._fit = u.clone(), known

    def lend(self, facts: Facts, bound: BoundPNP) -> None:
        """Keep ``bound``, with whatever gradient, for the next call from the very same ``facts``.

        A graph serves one run, so it is lent once.
        """
        if torch.is_grad_enabled() and are_lasting(facts):
            self._lent[:] = [(facts, _versions(facts), bound)]

    def take_back(self) -> None:
        """Lend nothing any more."""
        self._lent.clear()

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


def _is_same(known: Any, fact: Any) -> bool:
    if type(known) is Field:
        return type(fact) is Field and _is_same(known.values, fact.values)
    if isinstance(known, Tensor):
        return (
            type(fact) in TENSORS
            and known.dtype == fact.dtype
            and known.device == fact.device
            and torch.equal(known, fact)
        )
    return type(known) is type(fact) and bool(known == fact)


def _versions(facts: Facts) -> list[int]:
    return [one._version for one in tensors_of(facts)]
