"""The gradient of a run in modes, which takes the steps between a few kept places again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Resolution, Semilinear
from pnpfusion.solvers.steppers.matrices import SIZES_KEPT, Coefficients, Matrices
from pnpfusion.solvers.steppers.tape import steps_ahead

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

Modes = tuple[Tensor, Tensor]  #: v and the remainder there
BYTES_KEPT = 2**25  # of places from which steps are taken again, unless their root is more


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


def _separable(part: Semilinear) -> Separable:
    if not isinstance(part.resolution, Separable):
        raise TypeError("a law in other modes must tell its tensors, as the one before it did.")
    return part.resolution


class _Leaves(Matrices):
    """Coefficients that are leaves; :attr:`used` are those given out since it was cleared."""

    def __init__(self, method: Exponential, linear: Tensor, alike: Tensor | None) -> None:
        super().__init__(method, linear, alike)
        self.used: dict[str, tuple[Tensor, Coefficients]] = {}

    def _of_size(self, key: str, size: Tensor) -> Coefficients:
        if key not in self.known:
            with torch.no_grad():
                made = super()._of_size(key, size)
            follows = self.linear.requires_grad
            self.known[key] = tuple(c.detach().requires_grad_(follows) for c in made)
        self.used[key] = size, self.known[key]
        return self.known[key]

    def _key(self, size: float) -> str:
        return f"{size:.15e}"


class _Separate:
    """A law in some modes whose tensors are leaves, and what has been added to their gradients."""

    def __init__(self, method: Exponential, resolution: Separable, base: Sequence[Tensor]) -> None:
        self.method, self.base = method, base
        with torch.enable_grad():
            whole = resolution.about(base)
            self.part, self.pairs = _separable(whole).on_leaves()
        linear = whole.linear.detach().requires_grad_(whole.linear.requires_grad)
        self.pairs.append((whole.linear, linear))
        self.matrices = _Leaves(method, linear, whole.alike)
        self.totals: dict[int, Tensor] = {}
        self.sizes: dict[str, tuple[Tensor, list[Tensor | None]]] = {}

    def step(self, step: _Step, before: Modes) -> tuple[Modes, dict[str, Any]]:
        """The modes after ``step``, with their graph, and the coefficients it took."""
        self.matrices.used = {}
        v, n = before
        if step.refitted:
            v = _separable(self.part).fitted(v)
            n = self.part.remainder(step.t, v)
        end, _, _ = self.method.advance(self.part, self.matrices.of(step.dt), step.t, step.dt, v, n)
        n_end = self.part.remainder(step.t + step.dt, end)
        if not step.all_accepted:
            keep = per_state(step.accept, end)
            end, n_end = torch.where(keep, end, v), torch.where(keep, n_end, n)
        return (end, n_end), self.matrices.used

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
class _Step:
    """Accepted steps of some samples."""

    law: int  #: which of the tape's laws
    refitted: bool  #: whether they begin with the modes of the law before it
    t: Tensor  #: (B,)
    dt: Tensor  #: (B,)
    accept: Tensor  #: bool (B,)
    all_accepted: bool


@dataclass(eq=False)
class ModalTape:
    """The accepted steps of one stretch of a run, and the modes that a few of them began from.

    The backward pass takes them again, one at a time. At most ``checkpoints`` places are kept for
    that; where None, twice the root of the number of steps, or as many as :data:`BYTES_KEPT` hold.
    """

    method: Exponential
    checkpoints: int | None
    given: tuple[Tensor, ...]  #: what the law is made of
    base: tuple[Tensor, ...]  #: leaves in their places
    part: Semilinear  #: the law in the modes of the last step
    place: Modes  #: where it led
    laws: list[_Separate] = field(default_factory=list)
    steps: list[_Step] = field(default_factory=list)
    kept: list[tuple[int, Modes]] = field(default_factory=list)
    saved: list[tuple[int, Tensor]] = field(default_factory=list)  #: after which step, samples
    stride: int = 1

    @classmethod
    def of(
        cls, method: Exponential, part: Semilinear, place: Modes, checkpoints: int | None
    ) -> ModalTape | None:
        """An empty one for a run of ``part`` from ``place``; None: it does not tell its tensors."""
        if not isinstance(part.resolution, Separable):
            return None
        given = part.resolution.parameters
        base = tuple(p.detach().requires_grad_(p.requires_grad) for p in given)
        place = place[0].detach(), place[1].detach()
        tape = cls(method, checkpoints, given, base, part, place)
        tape.laws.append(_Separate(method, part.resolution, base))
        return tape

    def add(self, part: Semilinear, t: Tensor, dt: Tensor, accept: Tensor) -> None:
        """Write down steps of ``part`` that stand; ``dt`` is 0 where one was not finite."""
        refitted = part is not self.part
        if refitted:
            self.laws.append(_Separate(self.method, _separable(part), self.base))
        self._keep(len(self.steps), self.place)
        whole = bool(accept.all())
        self.steps.append(_Step(len(self.laws) - 1, refitted, t, dt, accept, whole))
        self.part = part

    def came_to(self, v: Tensor, n: Tensor) -> None:
        """Where the last step led."""
        self.place = v, n

    def save(self, sample: Tensor) -> None:
        """What the last step came to is wanted, of these samples."""
        self.saved.append((len(self.steps) - 1, sample))

    def attached(self, began: Modes, found: Sequence[Tensor]) -> list[Tensor]:
        """``found``, the modes saved and those at the end, with their gradient."""
        args = (self, len(found), *found, *began, *self.given)
        return list(_Attach.apply(*args))  # type: ignore[no-untyped-call]

    def room(self, places: int) -> int:
        """How many places may be kept, in a run of so many steps."""
        if self.checkpoints is not None:
            return self.checkpoints
        v, n = self.kept[0][1] if self.kept else (None, None)
        fit = 0 if v is None or n is None else BYTES_KEPT // max(1, 2 * v.nbytes)
        return max(2 * isqrt(places) + 2, fit)

    def _keep(self, index: int, place: Modes) -> None:
        if index % self.stride:
            return
        most = self.room(index + 1)
        if self.checkpoints is not None:  # half is left to the backward pass
            most = max(1, most // 2)
        if len(self.kept) >= most:
            self.stride *= 2
            self.kept = [entry for entry in self.kept if entry[0] % self.stride == 0]
        if index % self.stride == 0 and len(self.kept) < most:
            self.kept.append((index, place))

    def backward(self, grads: list[Tensor | None], last: Tensor | None) -> list[Tensor | None]:
        """Gradients of v and n at the start and of :attr:`base`, from those of what was saved."""
        stack, end, room = list(self.kept), len(self.steps), self.room(len(self.steps))
        room += self.stride if self.checkpoints is None else 0
        after: tuple[Tensor | None, Tensor | None] = last, None
        saved = list(zip(self.saved, grads, strict=True))
        while end:
            while stack[-1][0] >= end:
                stack.pop()
            index, place = stack[-1]
            while index < end - 1:
                ahead = end - 1 - index
                if len(stack) < room:
                    ahead = steps_ahead(end - index, room - len(stack) + 1)
                with torch.no_grad():
                    for step in self.steps[index : index + ahead]:
                        place, _ = self.laws[step.law].step(step, place)
                index += ahead
                if len(stack) < room:
                    stack.append((index, place))
            after = self._back(self.steps[index], place, after, saved, index)
            end -= 1
        found = [law.gradients() for law in self.laws]
        totals = [
            None if all(g is None for g in column) else sum(g for g in column if g is not None)
            for column in zip(*found, strict=True)
        ]
        return [*after, *totals]

    def _back(
        self,
        step: _Step,
        place: Modes,
        after: tuple[Tensor | None, Tensor | None],
        saved: list[tuple[tuple[int, Tensor], Tensor | None]],
        index: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients before ``step`` from those after it and of what was saved there."""
        law = self.laws[step.law]
        with torch.enable_grad():
            own = tuple(values.detach().requires_grad_() for values in place)
            ends, used = law.step(step, (own[0], own[1]))
        by_end, by_n = after
        while saved and saved[-1][0][0] == index:
            (_, sample), grad = saved.pop()
            if grad is None:
                continue
            if by_end is None:
                by_end = torch.zeros_like(ends[0])
            by_end = by_end.index_add(0, sample, grad)
        pairs = [(e, g) for e, g in zip(ends, (by_end, by_n), strict=True) if g is not None]
        if not pairs:
            return None, None
        leaves = [leaf for _, leaf in law.pairs if leaf.requires_grad]
        sizes = [(k, s, cs) for k, (s, cs) in used.items() if cs[0].requires_grad]
        coefficients = [c for _, _, cs in sizes for c in cs]
        outputs, weights = zip(*pairs, strict=True)
        found = torch.autograd.grad(
            outputs, [*own, *leaves, *coefficients], weights, allow_unused=True
        )
        for leaf, grad in zip(leaves, found[2 : 2 + len(leaves)], strict=True):
            law.add(leaf, grad)
        at = 2 + len(leaves)
        for key, size, cs in sizes:
            law.add_of_size(key, size, found[at : at + len(cs)])
            at += len(cs)
        return found[0], found[1]

    def recorded(self, place: Modes, base: Sequence[Tensor]) -> list[Tensor]:
        """What was saved, and the end, in one graph of all steps, for higher derivatives."""
        laws: list[tuple[Semilinear, Matrices]] = []
        results, at = [], 0
        for index, step in enumerate(self.steps):
            while len(laws) <= step.law:
                part = _separable(self.laws[len(laws)].part).about(base)
                laws.append((part, Matrices(self.method, part.linear, part.alike)))
            part, matrices = laws[step.law]
            v, n = place
            if step.refitted:
                v = _separable(part).fitted(v)
                n = part.remainder(step.t, v)
            end, _, _ = self.method.advance(part, matrices.of(step.dt), step.t, step.dt, v, n)
            n_end = part.remainder(step.t + step.dt, end)
            keep = per_state(step.accept, end)
            place = torch.where(keep, end, v), torch.where(keep, n_end, n)
            while at < len(self.saved) and self.saved[at][0] == index:
                results.append(place[0][self.saved[at][1]])
                at += 1
        return [*results, place[0]]


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tape: ModalTape, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.tape, ctx.count = tape, count
        ctx.save_for_backward(*tensors[count:])
        ctx.set_materialize_grads(False)
        return tuple(values.view_as(values) for values in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tape, inputs = ctx.tape, ctx.saved_tensors
        none = (None,) * (2 + ctx.count)
        if torch.is_grad_enabled():  # create_graph=True
            inputs = [tensor.view_as(tensor) for tensor in inputs]  # one may depend on another
            results = tape.recorded((inputs[0], inputs[1]), inputs[2:])
            wanted = [i for i, tensor in enumerate(inputs) if tensor.requires_grad]
            pairs = [(r, g) for r, g in zip(results, grads, strict=True) if g is not None]
            outputs, weights = zip(*pairs, strict=True)
            found = torch.autograd.grad(
                outputs, [inputs[i] for i in wanted], weights, create_graph=True, allow_unused=True
            )
            by = dict(zip(wanted, found, strict=True))
            return (*none, *(by.get(i) for i in range(len(inputs))))
        return (*none, *tape.backward(list(grads[:-1]), grads[-1]))
