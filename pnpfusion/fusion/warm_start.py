"""Where samples came to rest the last time, for solves that begin there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor

from pnpfusion.fusion.layer import FusionInfo


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
        if capacity is not None and (type(capacity) is not int or capacity < 1):
            raise ValueError(f"`capacity` must be a whole number >= 1 or None, got {capacity!r}.")
        self.capacity = capacity
        self._states: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        """How many samples are remembered."""
        return len(self._states)

    def of(self, index: Tensor | Iterable[int]) -> Tensor | None:
        """Where to begin, (rows, *state): zero for samples not known, None if none of them is."""
        known = [self._states.get(number) for number in _numbers(index)]
        like = next((state for state in known if state is not None), None)
        if like is None:
            return None
        nothing = torch.zeros_like(like)
        return torch.stack([nothing if state is None else state.to(like) for state in known])

    def keep(self, index: Tensor | Iterable[int], info: FusionInfo) -> None:
        """Remember what a layer's call came to.

        Args:
            index: the number of each row's sample.
            info: of the call.

        Raises:
            ValueError: the call had no solve, or as many rows as there are numbers it had not.
        """
        numbers = _numbers(index)
        if info.solution is None:
            raise ValueError("`info` must be that of a layer that solves, got no `solution` in it.")
        final = info.solution.final.detach()
        if len(final) != len(numbers):
            raise ValueError(
                f"`index` must have a number for each of {len(final)} rows, got {len(numbers)}."
            )
        good = info.succeeded.reshape(-1).tolist()
        for number, state, found in zip(numbers, final, good, strict=True):
            if found:
                self._states[number] = state.clone()  # a view would keep its batch alive
                self._states.move_to_end(number)
        while self.capacity is not None and len(self._states) > self.capacity:
            self._states.popitem(last=False)

    def clear(self) -> None:
        """Forget all, as where a layer begins again."""
        self._states.clear()


def _numbers(index: Tensor | Iterable[int]) -> list[int]:
    values = index.reshape(-1).tolist() if isinstance(index, Tensor) else [*index]
    return [int(value) for value in values]
