"""Where samples came to rest the last time, for solves that begin there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor

from pnpfusion.fusion.layer import FusionInfo
from pnpfusion.solvers.arguments import check_whole


class WarmStart:
    """The states of rest of samples, by their index in the data set.

    In the next epoch a layer's weights have changed little, and so have the states::

        warm = pnpfusion.fusion.WarmStart(capacity=10_000)
        for index, inputs, y in loader:
            fused, info = layer(inputs, start=warm.of(index), return_info=True)
            warm.keep(index, info)

    Where the equilibrium is unique, answers depend on where a solve began no more than the
    tolerance says; where there are several (the paper's cell), a solve tends to the one that it
    found before. A state without success is not kept. What augmentation or dropout changes before
    the layer makes starts worse, not answers.

    Args:
        capacity: how many samples are remembered; those kept longest ago are forgotten first. None
            is all of them.

    Raises:
        ValueError: ``capacity`` is no whole number >= 1.
    """

    def __init__(self, capacity: int | None = None) -> None:
        check_whole("capacity", capacity, or_none=True)
        self.capacity = capacity
        self._places: OrderedDict[int, int] = OrderedDict()  # of each sample, among the states
        self._states: Tensor | None = None

    def __len__(self) -> int:
        """How many samples are remembered."""
        return len(self._places)

    def __repr__(self) -> str:
        kept = "" if self._states is None else f", states {tuple(self._states.shape[1:])}"
        return f"WarmStart({len(self)} samples{kept}, capacity={self.capacity})"

    def of(self, index: Tensor | Iterable[int]) -> Tensor | None:
        """Where to begin, (rows, *state): zero for samples not known, None if none of them is.

        Args:
            index: a number for each sample, by which it was kept.
        """
        places = [self._places.get(number, -1) for number in _numbers(index)]
        if self._states is None or max(places, default=-1) < 0:
            return None
        at = torch.tensor(places, device=self._states.device)
        known = at.reshape(-1, *(1 for _ in self._states.shape[1:])) >= 0
        return torch.where(known, self._states[at.clamp_min(0)], 0.0)

    def keep(self, index: Tensor | Iterable[int], info: FusionInfo) -> None:
        """Remember what a layer's call came to.

        Args:
            index: the number of each row's sample.
            info: of the call.

        Raises:
            ValueError: the layer takes no ``start``, or the call had not as many rows as there are
                numbers.
        """
        numbers = _numbers(index)
        if info.solution is None or not info.iterates:
            got = "no `solution` in it" if info.solution is None else "one that takes no `start`"
            raise ValueError(
                f"`info` must be that of a layer that iterates to an equilibrium, such as DEQ or "
                f"Progressive(rounds=None), got {got}; such a layer is called as it is."
            )
        final = info.solution.final.detach()
        if len(final) != len(numbers):
            raise ValueError(
                f"`index` must have a number for each of {len(final)} rows, got {len(numbers)}."
            )
        good = info.succeeded.reshape(-1).nonzero().squeeze(1)
        if self.capacity is not None:
            good = good[-self.capacity :]
        places = [self._place(numbers[row]) for row in good.tolist()]
        states = self._room(final)
        at = torch.tensor(places, dtype=torch.long, device=states.device)
        states[at] = final[good].to(states.device, states.dtype)

    def _place(self, number: int) -> int:
        """Where to keep the state of a sample: its own place, a new one, or the oldest's."""
        place = self._places.pop(number, None)
        if place is None and len(self._places) == self.capacity:
            _, place = self._places.popitem(last=False)
        self._places[number] = len(self._places) if place is None else place
        return self._places[number]

    def _room(self, like: Tensor) -> Tensor:
        """Room for all states that have a place, in memory that doubles as it must."""
        kept = self._states
        if kept is None or kept.shape[1:] != like.shape[1:]:
            kept = like[:0]
        missing = len(self._places) - len(kept)
        if missing > 0:
            more = kept.new_zeros(max(missing, len(kept)), *like.shape[1:])
            kept = torch.cat([kept, more])
        self._states = kept
        return kept

    def clear(self) -> None:
        """Forget all, as where a layer begins again."""
        self._places.clear()
        self._states = None


def _numbers(index: Tensor | Iterable[int]) -> list[int]:
    values = index.reshape(-1).tolist() if isinstance(index, Tensor) else [*index]
    return [int(value) for value in values]
