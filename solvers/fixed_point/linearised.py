"""A residual at one place, with products with its transposed Jacobian there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import Residual


@dataclass(frozen=True, eq=False)
class Linearised:
    """A residual at one place."""

    f: Tensor  #: like the state; with a graph to all that it depends on but the state
    transposed: Callable[[Tensor], Tensor]  #: products with the transposed Jacobian, row by row


@runtime_checkable
class OwnDerivative(Protocol):
    """A residual that knows its derivative, in less time than autograd finds it."""

    def linearised(self, u: Tensor, rows: Tensor | None) -> Linearised:
        """At ``u``, the states of ``rows`` of the batch, all of them if None."""


def linearised(residual: Residual, u: Tensor, rows: Tensor | None) -> Linearised | None:
    """``residual`` at ``u`` by its own way or by autograd; None if nothing depends on more."""
    if isinstance(residual, OwnDerivative):
        own = residual.linearised(u, rows)
        return own if own.f.requires_grad else None
    u = u.detach().requires_grad_()
    f = residual(u, rows)
    if not _depends_on_more(f, u):
        return None

    def transposed(w: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(f, u, w, retain_graph=True, materialize_grads=True)
        return product

    return Linearised(f, transposed)


def _depends_on_more(f: Tensor, u: Tensor) -> bool:
    """Whether the graph of ``f`` reaches a leaf beside ``u``."""
    waiting, seen = [f.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf is not u:
            return True
        waiting.extend(edge for edge, _ in node.next_functions)
    return False
