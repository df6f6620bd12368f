"""Where the samples of a run in modes stand, and the step from there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Semilinear
from pnpfusion.solvers.steppers.matrices import Matrices
from pnpfusion.solvers.steppers.modal_tape import ModalTape

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential


@dataclass(eq=False)
class ModalStanding:
    """Where the samples stand: modes v, the remainder n there, and the law in these modes."""

    method: Exponential
    part: Semilinear
    matrices: Matrices
    v: Tensor
    n: Tensor
    tape: ModalTape | None = None

    @classmethod
    def of(cls, method: Exponential, part: Semilinear, t: Tensor, v: Tensor) -> ModalStanding:
        return cls(method, part, Matrices(method, part.linear, part.alike), v, part.remainder(t, v))

    @classmethod
    def entering(cls, tape: ModalTape) -> ModalStanding:
        """Where the next step of ``tape`` begins, which has just found its remainder."""
        law, (v, n) = tape.law, tape.start
        return cls(law.method, law.part, law.matrices, v, n, tape)

    def at(self, end: Tensor, n: Tensor, accept: Tensor) -> ModalStanding:
        """The same law where the accepted samples have come to ``end``."""
        if not accept.all():
            keep = per_state(accept, end)
            end, n = torch.where(keep, end, self.v), torch.where(keep, n, self.n)
        return replace(self, v=end, n=n)

    def reduced(self) -> ModalStanding:
        """The same in the modes that it needs."""
        known = self.part.resolution
        part = None if known is None else known.reduced(self.v)
        if part is None or part.resolution is None:
            return self
        v, n = (part.resolution.fitted(modes) for modes in (self.v, self.n))
        return ModalStanding(
            self.method, part, Matrices(self.method, part.linear, part.alike), v, n
        )

    def reduced_on(self, tape: ModalTape, t: Tensor, since: float) -> ModalStanding:
        """The same for a gradient, which changes of modes so long ago may tell."""
        part = tape.law.drift.reduced(self.v, since)
        if part is None:
            return self
        with torch.no_grad():
            tape.refit(part, t.to(self.v.dtype), self.v)
        return ModalStanding.entering(tape)

    def stepped(
        self, t: Tensor, dt: Tensor, moving: Tensor
    ) -> tuple[ModalStanding, Tensor, Tensor, Tensor | None]:
        """Modes, remainder and error after a step, in more modes if ``moving`` have too few."""
        here = self
        while True:
            part = here.part
            if here.tape is not None:
                here.tape.law.remainder.evaluations = []
            end, n, error = self.method.step(part, here.matrices.of(dt), t, dt, here.v, here.n)
            resolution = part.resolution
            asked = end if moving.all() else torch.where(per_state(moving, end), end, here.v)
            finer = None if resolution is None else resolution.finer(asked)
            if finer is None or finer.resolution is None:
                return here, end, n, error
            if here.tape is None:
                here = ModalStanding.of(self.method, finer, t, finer.resolution.fitted(here.v))
                continue
            here.tape.refit(finer, t, here.v)
            here = ModalStanding.entering(here.tape)
