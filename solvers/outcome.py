"""How a run can end, in words."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """How a run ended; the value says what happened and what to try.

    Members stand in order of severity: of a batch, the last that occurs is the batch's outcome.
    """

    REACHED_END = "the end time was reached"
    CONVERGED = "the residual fell below the tolerance"
    INTERRUPTED = "the run was interrupted; the states up to then are kept"
    OUT_OF_STEPS = "the step limit was reached first; raise `max_steps` or loosen `rtol`"
    NOT_CONVERGED = (
        "the iteration did not reach a state of rest, and there may be none (a map that does not "
        "contract, fluxes into a closed cell, totals that are kept but not told by `conserved`); "
        "allow more evaluations, begin closer to it, e.g. from where `simulate` leads, or, of a "
        "cell, use more grid cells or lower voltages, fluxes or fixed charges"
    )
    STEP_TOO_SMALL = (
        "the time step fell below what round-off allows, so the problem is too stiff for this "
        "stepper or has no solution; use an implicit stepper, smaller voltages or more cells"
    )
    NOT_FINITE = (
        "the state stopped being finite; an explicit step was too large (use smaller steps or "
        "an implicit stepper) or the input is extreme"
    )

    @property
    def is_success(self) -> bool:
        """Whether a run that ended so has the answer that was asked for."""
        return self in (Outcome.REACHED_END, Outcome.CONVERGED)

    @property
    def severity(self) -> int:
        """0 for the best outcome, rising."""
        return list(Outcome).index(self)


class SolveError(RuntimeError):
    """A run has no answer, and the caller asked to be told by an exception."""
