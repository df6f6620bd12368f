"""A law in modes whose tensors are leaves, so that its steps can be gone back along one by one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Resolution, Semilinear
from pnpfusion.solvers.steppers.matrices import SIZES_KEPT, Coefficients, Matrices, make_room

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

Modes = tuple[Tensor, Tensor]  #: v and the remainder there
Sizes = dict[str, tuple[Tensor, Coefficients]]  #: sizes of steps and their coefficients


@runtime_checkable
class Separable(Resolution, Protocol):
    """A resolution that tells which tensors its law is made of."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Those that the law's tensors are computed from."""

    def about(self, parameters: Sequence[Tensor]) -> Semilinear:
        """The same law with others in their places."""

    def on_leaves(self) -> tuple[Semilinear, list[tuple[Tensor, Tensor]]]:
        """The same law, its tensors leaves, each beside the one that it stands for."""


def separable(part: Semilinear) -> Separable:
    """What a part that tells its tensors is made of."""
    if not isinstance(part.resolution, Separable):
        raise TypeError("a law in other modes must tell its tensors, as the one before it did.")
    return part.resolution


class _Leaves(Matrices):
    """Coefficients that are leaves; :attr:`used` are those given out since it was cleared."""

    def __init__(self, method: Exponential, linear: Tensor, alike: Tensor | None) -> None:
        super().__init__(method, linear, alike)
        self.used: Sizes = {}

    def _of_size(self, key: str, size: Tensor) -> Coefficients:
        if key not in self.known:
            make_room(self.known)
            with torch.no_grad():
                made = self.made(size)
            follows = self.linear.requires_grad
            self.known[key] = tuple(c.detach().requires_grad_(follows) for c in made)
        self.used[key] = size, self.known[key]
        return self.known[key]

    def _key(self, size: float) -> str:
        return f"{size:.15e}"


class SeparateLaw:
    """A law in some modes whose tensors are leaves, and what has been added to their gradients."""

    def __init__(self, method: Exponential, resolution: Separable, base: Sequence[Tensor]) -> None:
        self.method, self.base = method, base
        with torch.enable_grad():
            whole = resolution.about(base)
            self.part, self.pairs = separable(whole).on_leaves()
        linear = whole.linear.detach().requires_grad_(whole.linear.requires_grad)
        self.pairs.append((whole.linear, linear))
        self.matrices = _Leaves(method, linear, whole.alike)
        self.weight: int | None = None  #: bytes of the graph of a step, once there was one
        self.totals: dict[int, Tensor] = {}
        self.sizes: dict[str, tuple[Tensor, list[Tensor | None]]] = {}

    def step(self, step: Step, before: Modes) -> tuple[Modes, Sizes]:
        """The modes after ``step``, with their graph, and the coefficients it took."""
        self.matrices.used = {}
        v, n = before
        if step.refitted:
            v = separable(self.part).fitted(v)
            n = self.part.remainder(step.t, v)
        end, _, _ = self.method.advance(self.part, self.matrices.of(step.dt), step.t, step.dt, v, n)
        n_end = self.part.remainder(step.t + step.dt, end)
        if not step.all_accepted:
            keep = per_state(step.accept, end)
            end, n_end = torch.where(keep, end, v), torch.where(keep, n_end, n)
        return (end, n_end), self.matrices.used

    def recorded(self, step: Step, before: Modes) -> Graph:
        """``step`` with its graph."""
        with torch.enable_grad():
            v, n = (values.detach().requires_grad_() for values in before)
            ends, used = self.step(step, (v, n))
        return Graph((v, n), ends, used)

    def add(self, leaf: Tensor, grad: Tensor | None) -> None:
        """Add to the gradient of one of :attr:`pairs`."""
        if grad is not None:
            known = self.totals.get(id(leaf))
            self.totals[id(leaf)] = grad if known is None else known + grad

    def add_of_size(self, key: str, size: Tensor, grads: Sequence[Tensor | None]) -> None:
        """Add to the gradient of the coefficients of one size."""
        if key not in self.sizes:
            if len(self.sizes) >= SIZES_KEPT:
                self._flush()
            self.sizes[key] = size, [None] * len(grads)
        so_far = self.sizes[key][1]
        for i, grad in enumerate(grads):
            old = so_far[i]
            so_far[i] = grad if old is None else old if grad is None else old + grad

    def _flush(self) -> None:
        """Bring what the coefficients hold to the linear part: one size from its half."""
        linear, outputs, weights = self.matrices.linear, [], []
        with torch.enable_grad():
            again = Matrices(self.method, linear, self.part.alike)
            for size, grads in sorted(self.sizes.values(), key=lambda entry: float(entry[0])):
                pairs = zip(again.made(size), grads, strict=True)
                known = [(m, g) for m, g in pairs if g is not None]
                outputs += [m for m, _ in known]
                weights += [g for _, g in known]
        self.sizes = {}
        if outputs:
            self.add(linear, torch.autograd.grad(outputs, [linear], weights)[0])

    def gradients(self) -> list[Tensor | None]:
        """Those of :attr:`base` by what was added, which is forgotten."""
        self._flush()
        found: list[Tensor | None] = [None] * len(self.base)
        wanted = [i for i, tensor in enumerate(self.base) if tensor.requires_grad]
        known = [(o, self.totals[id(leaf)]) for o, leaf in self.pairs if id(leaf) in self.totals]
        self.totals = {}
        if not known or not wanted:
            return found
        outputs, weights = zip(*known, strict=True)
        inputs = [self.base[i] for i in wanted]
        grads = torch.autograd.grad(outputs, inputs, weights, retain_graph=True, allow_unused=True)
        for i, grad in zip(wanted, grads, strict=True):
            found[i] = grad
        return found


@dataclass(frozen=True, eq=False)
class Step:
    """Accepted steps of some samples."""

    law: int  #: which of the tape's laws
    refitted: bool  #: whether they begin with the modes of the law before it
    t: Tensor  #: (B,)
    dt: Tensor  #: (B,)
    accept: Tensor  #: bool (B,)
    all_accepted: bool


@dataclass(frozen=True, eq=False)
class Graph:
    """A step as autograd recorded it."""

    start: Modes  #: leaves
    end: Modes
    used: Sizes  #: the coefficients, leaves too


class Weight:
    """Counts the bytes that autograd keeps of what is computed within :meth:`counting`."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def counting(self) -> AbstractContextManager[Any]:
        """Where it counts."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept)

    def _pack(self, kept: Tensor) -> Tensor:
        storage = kept.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return kept.detach()

    def without(self, used: Sizes) -> int:
        """So far, but for the coefficients, which steps share."""
        shared = {c.untyped_storage().data_ptr() for _, cs in used.values() for c in cs}
        return sum(size for key, size in self.storages.items() if key not in shared)
