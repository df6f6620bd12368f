"""What every run returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.ledger import Ledger
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.fixed_point.base import GradientReport
from pnpfusion.solvers.outcome import Outcome, SolveError
from pnpfusion.solvers.steppers.base import Standing, Work


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """A run: its path, how it ended, what it cost, and the law and input it followed."""

    times: Tensor  #: (T,), in L²/D_ref; rounds from `unroll`
    states: Tensor  #: (T, *batch, *state); carries the gradient; NaN after a sample's failure
    outcome: Outcome  #: how the run ended, by its worst sample
    succeeded: Tensor  #: which samples have an answer: bool, (*batch,)
    work: Work  #: steps, rejections, iterations and rate calls of each sample
    dynamics: Dynamics | None  #: the law; None if a file did not hold it
    x: Input = None  #: the input that the law was under
    lowest: Tensor | None = None
    """Smallest of what must stay positive over the steps up to each time, (T, *batch)."""
    standing: Standing | None = None
    """Where the run stopped, over a flat batch: what ``simulate(..., resume=run)`` goes on from."""

    choice: str = ""  #: how the run was made, and why, where that was left to us
    history: Tensor | None = None
    """Relative residuals of every iterate of a fixed-point solver, (K, *batch); NaN once ended."""
    backward: GradientReport | None = None
    """How the gradient of `equilibrium` was computed; filled in by the backward pass."""
    rest_rates: Tensor | None = None
    """RMS rates where the law stands still, (1, *batch): the residuals of `equilibrium`."""

    def __repr__(self) -> str:
        times, shape = self.times, tuple(self.states.shape)
        span = f"{float(times[0]):.4g} to {float(times[-1]):.4g}"
        good, all_ = int(self.succeeded.sum()), self.succeeded.numel()
        return (
            f"Solution({len(times)} states at times {span}, shape {shape}, {self.states.dtype}; "
            f"{self.outcome.name}: {good} of {all_} samples have an answer; {self.choice})"
        )

    @property
    def final(self) -> Tensor:
        """The last saved state, ``(*batch, *state)``."""
        return self.states[-1]

    @cached_property
    def residuals(self) -> Tensor:
        """RMS mean rate of each interval, ``(T-1, *batch)``, detached; at rest the RMS rate."""
        if self.rest_rates is not None:
            return self.rest_rates
        batch = self.succeeded.ndim
        rises = self.states.detach().diff(dim=0)
        gaps = self.times.diff().to(rises.dtype).reshape(-1, *(1,) * (rises.ndim - 1))
        return (rises / gaps).square().flatten(1 + batch).mean(-1).sqrt()

    @cached_property
    def ledger(self) -> Ledger:
        """Mass, charge, free energy and smallest concentration at each saved time.

        Raises:
            ValueError: the law keeps no ledger.
        """
        if self.dynamics is None:
            raise ValueError("a run without its law keeps no ledger; its file held none.")
        ledger = self.dynamics.ledger(self.times, self.states, self.lowest, self.x)
        if ledger is None:
            raise ValueError(f"{type(self.dynamics).__name__} keeps no ledger; a PNP cell does.")
        return ledger

    def require_success(self) -> Solution:
        """Self if every sample has an answer; raises :class:`SolveError` if not."""
        if not self.succeeded.all():
            failed = int((~self.succeeded).sum())
            at_rest = self.outcome is Outcome.NOT_CONVERGED  # whose times are a count
            when = "" if at_rest else f" by t = {float(self.times[-1]):.4g}"
            raise SolveError(
                f"{failed} of {self.succeeded.numel()} samples have no answer{when}: "
                f"{self.outcome.value}."
            )
        return self

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the run into one self-describing file; see :mod:`pnpfusion.storage`.

        Args:
            path: the file to write, e.g. ``"run.safetensors"``.
            overwrite: whether a file that is there may be replaced.

        Raises:
            FileExistsError: the file is there already and `overwrite` is not set.
        """
        from pnpfusion.storage import save

        return save(self, path, overwrite=overwrite)


class Interrupted(KeyboardInterrupt):
    """A run was interrupted from the keyboard; :attr:`solution` holds what was computed.

    Save it with ``.solution.save(path)``, and go on with ``simulate(..., resume=load(path))``.

    Args:
        solution: what was computed before it.
    """

    def __init__(self, solution: Solution) -> None:
        super().__init__(
            f"the run was interrupted; what was computed is in `.solution` {Faq.INTERRUPTED}"
        )
        self.solution = solution
