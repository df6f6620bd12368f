"""The tensors that bring a gradient into a run from outside, found in the graph of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

Edge = tuple[Node, int]


class Outside:
    """Stands a leaf in the place of every tensor from outside, so that a step has its own graph.

    A law may hold its tensors anywhere: as parameters, in an input, in a closure. What a step's
    graph leads to outside of the run is what it depends on.
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.leaves: list[Tensor] = []  #: in their places
        self._leaf_of: dict[int, Tensor] = {}
        mark = torch.zeros((), requires_grad=True).view(()).grad_fn
        self._first = -1 if mark is None else _sequence(mark)  # nodes of the run come later

    @contextmanager
    def replaced(self, by: Sequence[Tensor] | None = None) -> Iterator[None]:
        """Within, every operation sees the leaves, or what is given in their order."""
        pairs = zip(self.tensors, by or (), strict=by is not None)
        with _Swap(self._leaf_of if by is None else {id(old): new for old, new in pairs}):
            yield

    def forget_modes(self) -> None:
        """Make a mode inert that an interruption, in a `with` statement's own line, left behind."""
        left, self._leaf_of = self._leaf_of, dict(self._leaf_of)
        left.clear()

    def step(self, own: Sequence[Tensor], take: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        """What ``take`` returns, its graph ending at ``own`` and at :attr:`leaves`.

        Raises:
            ValueError: it depends on a tensor that no torch operation was given.
        """
        while True:
            with self.replaced():
                results = take()
            edges = self._leading_out(results, own)
            if not edges:
                return results
            self._add(edges, take)

    def _add(self, edges: list[Edge], take: Callable[[], object]) -> None:
        with self.replaced(), _Watch() as watch:
            take()
        for node, number in edges:
            tensor = watch.given.get((node, number))
            if tensor is None or id(tensor) in self._leaf_of:
                raise ValueError(
                    "`checkpoints` cannot follow a tensor that the law hands to an "
                    "autograd.Function directly; give it tensor.view_as(tensor) there, or leave "
                    "`checkpoints` out."
                )
            leaf = tensor.detach().requires_grad_()
            self._leaf_of[id(tensor)] = leaf
            self.tensors.append(tensor)
            self.leaves.append(leaf)

    def _leading_out(self, results: Sequence[Tensor], own: Sequence[Tensor]) -> list[Edge]:
        """The edges of the graph of ``results`` that lead out of the run."""
        inside = {id(leaf) for leaf in (*own, *self.leaves)}
        nodes = [node for result in results if (node := result.grad_fn) is not None]
        seen, found = set(nodes), dict[Edge, None]()
        while nodes:
            for node, number in nodes.pop().next_functions:
                if node is None or node in seen:
                    continue
                variable = getattr(node, "variable", None)
                if variable is not None:
                    outside = id(variable) not in inside
                else:
                    outside = _sequence(node) < self._first
                if outside:
                    found[node, number] = None
                    continue
                seen.add(node)
                if variable is None:
                    nodes.append(node)
        return list(found)


def _node(tensor: Tensor) -> Node | None:
    """Where the gradient of ``tensor`` goes: the operation that made it, or itself if a leaf."""
    if tensor.grad_fn is not None:
        return tensor.grad_fn
    view = tensor.view_as(tensor).grad_fn
    return None if view is None else view.next_functions[0][0]


def _sequence(node: Node) -> int:
    """A number that grows with each node made in this thread."""
    number: int = node._sequence_nr()
    return number


class _Swap(TorchFunctionMode):
    """Gives every operation the leaves in the place of the tensors from outside."""

    def __init__(self, leaf_of: dict[int, Tensor]) -> None:
        super().__init__()
        self.leaf_of = leaf_of

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not torch.is_grad_enabled():  # as inside an autograd.Function: nothing is recorded
            return func(*args, **(kwargs or {}))
        given = self._swapped(args)
        if not kwargs:
            return func(*given)
        return func(*given, **{name: self._swapped(value) for name, value in kwargs.items()})

    def _swapped(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.leaf_of.get(id(value), value)
        if type(value) in (tuple, list):
            return type(value)([self._swapped(one) for one in value])
        return value


class _Watch(_Swap):
    """Remembers every tensor with a gradient that an operation was given."""

    def __init__(self) -> None:
        super().__init__({})
        self.given: dict[Edge, Tensor] = {}

    def _swapped(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.requires_grad and torch.is_grad_enabled():
            node = _node(value)
            if node is not None:  # a view made without gradient has none
                self.given[node, value.output_nr] = value
        return super()._swapped(value)
