"""A law in modes held fixed, whose steps are gone back along one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Resolution, Semilinear
from pnpfusion.solvers.steppers.leaf_matrices import LeafMatrices
from pnpfusion.solvers.steppers.matrices import SIZES_KEPT

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

Modes = tuple[Tensor, Tensor]  #: v and the remainder there
Outer = list[tuple[Tensor, Tensor]]  #: pairs of modes (B, S, *modes): a sum of outer products


class Transposable(Protocol):
    """The remainder of a law, and gradients by its modes and by what the law is made of."""

    @property
    def law(self) -> Resolution:
        """The resolution without gradient."""

    def remainder(self, modes: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """N of modes, and what :meth:`back` asks for."""

    def back(self, modes: Tensor, kept: tuple[Tensor, ...], grad: Tensor) -> Tensor:
        """The gradient by ``modes`` from that by N there; adds to :meth:`summed`."""

    def reduced(self, modes: Tensor, since: float) -> Semilinear | None:
        """See :class:`Resolution`."""

    def summed(self) -> list[tuple[Tensor, Tensor]]:
        """Tensors of the law, with their graph, and the gradients by them, which are forgotten."""


@runtime_checkable
class Separable(Resolution, Protocol):
    """A resolution that tells which tensors its law is made of."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Those that the law's tensors are computed from."""

    def about(self, parameters: Sequence[Tensor]) -> Semilinear:
        """The same law with others in their places."""

    def transposable(self) -> Transposable:
        """Its remainder with its transpose."""


def separable(part: Semilinear) -> Separable:
    """What a part that tells its tensors is made of."""
    if not isinstance(part.resolution, Separable):
        raise TypeError("a law in other modes must tell its tensors, as the one before it did.")
    return part.resolution


class Evaluation(NamedTuple):
    """The remainder somewhere."""

    modes: Tensor
    n: Tensor
    kept: tuple[Tensor, ...]  #: for :meth:`Transposable.back`


@dataclass(frozen=True, eq=False)
class Step:
    """Accepted steps of some samples."""

    law: int  #: which of the tape's laws
    before: int | None  #: that of the modes it begins with, whose remainder is found; None: this
    t: Tensor  #: (B,)
    dt: Tensor  #: (B,)
    accept: Tensor  #: bool (B,)
    all_accepted: bool


@dataclass(frozen=True, eq=False)
class Trace:
    """Where the remainder was evaluated in a step."""

    start: Modes  #: in the step's own law
    entry: Evaluation | None  #: of the remainder there, if the step finds it
    stages: list[Evaluation]  #: then at the end

    @property
    def storages(self) -> dict[int, int]:
        """The size in bytes of what it holds, by address."""
        places = self.stages if self.entry is None else [self.entry, *self.stages]
        tensors = [*self.start, *(t for place in places for t in (*place[:2], *place.kept))]
        storages = (tensor.untyped_storage() for tensor in tensors)
        return {storage.data_ptr(): storage.nbytes() for storage in storages}


class Remainder:
    """The remainder of a law, as its part calls it, which writes down where it was asked for."""

    def __init__(self, drift: Transposable) -> None:
        self.drift = drift
        self.evaluations: list[Evaluation] = []  #: since they were last cleared

    def __call__(self, t: Tensor, modes: Tensor) -> Tensor:
        n, kept = self.drift.remainder(modes)
        self.evaluations.append(Evaluation(modes, n, kept))
        return n


class SeparateLaw:
    """A law in some modes without gradient, and the gradients by it that steps back add up."""

    def __init__(self, method: Exponential, resolution: Separable, base: Sequence[Tensor]) -> None:
        self.method, self.base = method, base
        with torch.enable_grad():
            whole = resolution.about(base)
            self.drift = separable(whole).transposable()
        self.linear = whole.linear
        leaf = self.linear.detach().requires_grad_(self.linear.requires_grad)
        self.matrices = LeafMatrices(method, leaf, whole.alike)
        # An object of its own, or the law would hold itself until garbage is collected.
        self.remainder = Remainder(self.drift)
        self.part = replace(
            whole, linear=leaf.detach(), remainder=self.remainder, resolution=self.drift.law
        )
        self.by_linear: Tensor | None = None
        self.sizes: dict[str, tuple[Tensor, list[Tensor]]] = {}

    def enter(self, t: Tensor, modes: Tensor) -> Evaluation:
        """The remainder at modes of another resolution, in these."""
        self.part.remainder(t, separable(self.part).fitted(modes))
        return self.remainder.evaluations.pop()

    def step(self, step: Step, before: Modes) -> tuple[Modes, Trace]:
        """The modes after ``step``."""
        entry = None if step.before is None else self.enter(step.t, before[0])
        v, n = start = before if entry is None else (entry.modes, entry.n)
        self.remainder.evaluations = []
        end, _, _ = self.method.advance(self.part, self.matrices.of(step.dt), step.t, step.dt, v, n)
        n_end = self.part.remainder(step.t + step.dt, end)
        if not step.all_accepted:
            keep = per_state(step.accept, end)
            end, n_end = torch.where(keep, end, v), torch.where(keep, n_end, n)
        stages, self.remainder.evaluations = self.remainder.evaluations, []
        return (end, n_end), Trace(start, entry, stages)

    def back(
        self, step: Step, trace: Trace, by_v: Tensor | None, by_n: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients by the modes and the remainder before ``step`` from those after it."""
        *stages, last = trace.stages
        none = torch.zeros_like(last.modes)
        by_end = none if by_v is None else by_v
        stay_v = stay_n = None
        if not step.all_accepted:
            keep = per_state(step.accept, none)
            stay_v, by_end = torch.where(keep, none, by_end), torch.where(keep, by_end, none)
            if by_n is not None:
                stay_n, by_n = torch.where(keep, none, by_n), torch.where(keep, by_n, none)
        if by_n is not None:
            by_end = by_end + self.drift.back(last.modes, last.kept, by_n)

        def through(stage: int, grad: Tensor) -> Tensor:
            modes, _, kept = stages[stage - 1]
            return self.drift.back(modes, kept, grad)

        places = [trace.start, *(stage[:2] for stage in stages)]
        with torch.no_grad():
            coefficients = self.matrices.of(step.dt)
            by_v, by_n, outer = self.method.back(coefficients, step.dt, places, by_end, through)
        if self.linear.requires_grad:
            self._add(step.dt, outer)
        by_v = by_v if stay_v is None else by_v + stay_v
        by_n = by_n if stay_n is None else by_n + stay_n
        if trace.entry is None:
            return by_v, by_n
        modes, _, kept = trace.entry
        return by_v + self.drift.back(modes, kept, by_n), None

    def _add(self, dt: Tensor, outer: list[Outer]) -> None:
        """Add outer products to the gradients by the coefficients of steps ``dt``."""
        self.matrices.used = {}
        with torch.enable_grad():
            coefficients = self.matrices.of(dt)
        used = self.matrices.used
        if len(used) == 1:
            ((key, (size, _)),) = used.items()
            add_products(self._of_size(key, size), outer)
            return
        grads = [torch.zeros_like(c) for c in coefficients]
        add_products(grads, outer)
        leaves = [c for _, cs in used.values() for c in cs] or [self.matrices.linear]
        found = torch.autograd.grad(coefficients, leaves, grads)
        if not used:
            self._add_linear(found[0])
        for i, (key, (size, cs)) in enumerate(used.items()):
            for known, grad in zip(self._of_size(key, size), found[i * len(cs) :], strict=False):
                known.add_(grad)

    def _of_size(self, key: str, size: Tensor) -> list[Tensor]:
        """What the gradients by the coefficients of a size have added up to."""
        if key not in self.sizes:
            if len(self.sizes) >= SIZES_KEPT:
                self._flush()
            zeros = [torch.zeros_like(c) for c in self.matrices.used[key][1]]
            self.sizes[key] = size, zeros
        return self.sizes[key][1]

    def _add_linear(self, grad: Tensor) -> None:
        self.by_linear = grad if self.by_linear is None else self.by_linear + grad

    def _flush(self) -> None:
        """Bring what the coefficients hold to the linear part."""
        if self.sizes:
            self._add_linear(self.matrices.by_linear(self.sizes.values()))
        self.sizes = {}

    def forget(self) -> None:
        """Drop what was added by steps back that went no further, as after Ctrl-C."""
        self.drift.summed()
        self.by_linear, self.sizes = None, {}

    def gradients(self) -> list[Tensor | None]:
        """Those of :attr:`base` by what was added, which is forgotten."""
        self._flush()
        found: list[Tensor | None] = [None] * len(self.base)
        known = self.drift.summed()
        if self.by_linear is not None:
            known.append((self.linear, self.by_linear))
            self.by_linear = None
        wanted = [i for i, tensor in enumerate(self.base) if tensor.requires_grad]
        if not known or not wanted:
            return found
        outputs, weights = zip(*known, strict=True)
        inputs = [self.base[i] for i in wanted]
        grads = torch.autograd.grad(outputs, inputs, weights, retain_graph=True, allow_unused=True)
        for i, grad in zip(wanted, grads, strict=True):
            found[i] = grad
        return found


def add_products(totals: Sequence[Tensor], outer: Sequence[Outer]) -> None:
    """Add sums of outer products to matrices ``(B|1, S, S, *modes)``, in place."""
    for total, pairs in zip(totals, outer, strict=True):
        for grad, modes in pairs:
            if len(total) == len(grad):
                total.addcmul_(grad.unsqueeze(2), modes.unsqueeze(1))
            else:
                total.add_((grad.unsqueeze(2) * modes.unsqueeze(1)).sum(0, keepdim=True))
