"""How a run can end, in words."""

from __future__ import annotations

from enum import Enum

from pnpfusion.solvers.faq import Faq


class Outcome(Enum):
    """How a run ended; the value says what happened, what to try and where to read on.

    Members stand in order of severity: of a batch, the last that occurs is the batch's outcome.
    """

    REACHED_END = "the end time was reached"
    CONVERGED = "the residual fell below the tolerance"
    INTERRUPTED = f"the run was interrupted; the states up to then are kept {Faq.INTERRUPTED}"
    OUT_OF_STEPS = (
        f"the step limit was reached first; raise `max_steps` or loosen `rtol` {Faq.OUT_OF_STEPS}"
    )
    NOT_CONVERGED = (
        "the iteration did not reach a state of rest, and there may be none (a map that does not "
        "contract, fluxes into a closed cell, totals that are kept but not told by `conserved`); "
        "allow more evaluations, begin closer to it, e.g. from where `simulate` leads, or, of a "
        f"cell, use more grid cells or lower voltages, fluxes or fixed charges {Faq.NOT_CONVERGED}"
    )
    STEP_TOO_SMALL = (
        "the time step fell below what round-off allows, so the problem is too stiff for this "
        "stepper or has no solution; use an implicit stepper, smaller voltages or more cells "
        f"{Faq.STEP_TOO_SMALL}"
    )
    NOT_FINITE = (
        "the state stopped being finite; an explicit step was too large (use smaller steps or "
        f"an implicit stepper) or the input is extreme {Faq.NOT_FINITE}"
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
