"""The verb that follows a law through time."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from operator import lt

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.solution import Interrupted, Solution
from pnpfusion.solvers.arguments import check_floats, check_whole
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Law, Path, Report, Stepper


def simulate(
    dynamics: Dynamics,
    u0: Tensor,
    times: Tensor,
    *,
    x: Input = None,
    stepper: Stepper | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    progress: bool = False,
    checkpoints: int | None = None,
    resume: Solution | None = None,
) -> Solution:
    r"""Follow :math:`\dot u = f(t, u; x)` from ``u0`` at ``times[0]``.

    Differentiable in ``u0``, in every parameter of the law and in ``x``. A run that fails is
    returned with its outcome and the states before the failure; it raises only on request
    (:meth:`Solution.require_success`).

    Args:
        dynamics: the law.
        u0: states at ``times[0]``, shape ``(*batch, *state)``; its dtype and device are the run's.
        times: where to keep the state, shape ``(T,)``, increasing, in L²/D_ref. The clock of a run
            is float64, also where its states are float32.
        x: what drives the law; see there.
        stepper: how to step; None is the law's own default.
        rtol: relative error of a step, for the default stepper: relative to the state, so a small
            signal on top of it (a low alternating voltage) needs a smaller one.
        atol: absolute error of a step, for the default stepper; None is rtol / 100. Series in space
            have none.
        progress: whether to show a progress bar.
        checkpoints: how many states may be held for the gradient, beside those at ``times``. Steps
            between them are taken again, one at a time, when the gradient is computed: it is the
            same, takes less memory and more time, and cannot be differentiated again. None: every
            step is recorded, or, where steps are compiled, semi-implicit or in series, as many
            states as the root of their number once they take much room.
        resume: an earlier part of this run, such as :attr:`Interrupted.solution`, maybe saved and
            loaded since. Make the same call again with it beside: what it saved is kept, and the
            rest follows as if nothing had happened, on the CPU bit for bit if neither part has a
            gradient (in series, whose modes are chosen anew, to the tolerance). ``times`` may go on
            for longer than they did; samples that failed stay so.

    Returns:
        The run. Its ``times`` end early if no sample reached the end.

    Raises:
        ValueError: ``u0`` is no state of the law, ``times`` do not increase, tolerances stand
            beside a stepper, which has its own, ``checkpoints`` is no number >= 1, or ``resume`` is
            of another run or would need a gradient.
        Interrupted: on Ctrl-C, with the run so far.
    """
    if not isinstance(dynamics, Dynamics):
        raise ValueError(f"`dynamics` must be a Dynamics, got {type(dynamics).__name__}.")
    if stepper is not None and not isinstance(stepper, Stepper):
        raise ValueError(
            f"`stepper` must be a stepper such as pnpfusion.solvers.TRBDF2(), got {stepper!r}."
        )
    if stepper is not None and (rtol is not None or atol is not None):
        raise ValueError(
            "`rtol` and `atol` belong to the default stepper; beside `stepper` give them to it, "
            f"e.g. stepper={type(stepper).__name__}(rtol=...) {Faq.WHICH_STEPPER}."
        )
    check_whole("checkpoints", checkpoints, or_none=True)
    check_floats("u0", u0)
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"`{name}` must be a number, got {value!r}.")
    times, start = _checked_times(times, u0)
    law, clock = dynamics.bind_checked("u0", u0, x, start), times.double()
    if stepper is None:
        stepper, choice = dynamics.choose_stepper(law, u0, rtol, atol)
    else:
        choice = f"{stepper!r}, as asked"
    dynamics.check_run(stepper, u0, times, x)
    batch = tuple(u0.shape[: u0.ndim - dynamics.state_ndim])
    state = tuple(u0.shape[len(batch) :])
    earlier = None if resume is None else _earlier(resume, law, u0, times, state)
    with _progress_bar(progress) as report:
        path = stepper.integrate(law, u0.reshape(-1, *state), clock, report, checkpoints, earlier)
    solution = _solution(path, dynamics, times, batch, x, choice)
    if Outcome.INTERRUPTED in path.outcomes:
        raise Interrupted(solution)
    return solution


def _checked_times(times: Tensor, u0: Tensor) -> tuple[Tensor, float]:
    """``times`` on the device of ``u0``, and the first of them."""
    try:
        times = torch.as_tensor(times).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"`times` must be a tensor (T,) of numbers, got {times!r}.") from None
    times = times.to(u0.device, torch.promote_types(times.dtype, u0.dtype))
    if times.ndim != 1 or not len(times):
        raise ValueError(f"`times` must have shape (T,) with T >= 1, got {tuple(times.shape)}.")
    clock = times.tolist()  # few numbers, for which tensors take longer
    if not (
        math.isfinite(clock[0]) and math.isfinite(clock[-1]) and all(map(lt, clock, clock[1:]))
    ):
        if not all(map(math.isfinite, clock)):
            raise ValueError("`times` must be finite, got NaN or infinity in it.")
        before, after = next(pair for pair in pairwise(clock) if not lt(*pair))
        raise ValueError(f"`times` must increase strictly, got {before:g} and then {after:g}.")
    return times, clock[0]


def _solution(
    path: Path, dynamics: Dynamics, times: Tensor, batch: tuple[int, ...], x: Input, choice: str
) -> Solution:
    """The path with the caller's batch axes, cut where no sample got to."""
    kinds, states, lowest, reached = path.outcomes, path.states, path.lowest, len(times)
    worst = kinds[0] if kinds else Outcome.REACHED_END
    if kinds.count(worst) == len(kinds):
        succeeded = torch.full(batch, worst.is_success, device=states.device)
    else:
        worst = max(set(kinds), key=lambda outcome: outcome.severity)
        succeeded = torch.tensor([o.is_success for o in kinds], device=states.device).reshape(batch)
    if worst is not Outcome.REACHED_END:
        reached = int(path.reached.max())
        times, states = times[:reached], states[:reached]
        lowest = None if lowest is None else lowest[:reached]
    return Solution(
        times=times,
        states=states.reshape(reached, *batch, *states.shape[2:]),
        outcome=worst,
        succeeded=succeeded,
        work=path.work.reshape(batch),
        dynamics=dynamics,
        x=x,
        lowest=None if lowest is None else lowest.reshape(reached, *batch),
        standing=path.standing,
        choice=choice,
    )


def _earlier(resume: Solution, law: Law, u0: Tensor, times: Tensor, state: tuple[int, ...]) -> Path:
    """What ``resume`` saved, over a flat batch, once it is known to be a part of this run."""
    if not isinstance(resume, Solution):
        raise ValueError(f"`resume` must be a Solution, got {type(resume).__name__}.")
    if resume.standing is None:
        raise ValueError(
            "`resume` does not know where its steps stood: it comes from `unroll`, from `Odeint` "
            "or from an older file; start from its `final` state instead."
        )
    states, reached = resume.states.detach().to(u0.device), len(resume.times)
    if states.dtype != u0.dtype or not torch.equal(states[0], u0):
        raise ValueError("`resume` began from another state; give the `u0` that it began from.")
    if not torch.equal(resume.times.to(times), times[:reached]):
        raise ValueError(
            f"`times` must begin with the {reached} times that `resume` has saved; they may go on "
            f"as they like."
        )
    here = resume.standing.mapped(lambda values: values.to(u0.device))
    waiting, clock = here.next < len(times), times.double()
    if (clock[here.next[waiting]] <= here.t[waiting]).any():
        raise ValueError(
            f"`times` must not ask for states that `resume` passed without saving them; those that "
            f"it has not must be later than {float(here.t.max()):.17g}."
        )
    if torch.is_grad_enabled() and (
        u0.requires_grad or law.rate(here.t.to(u0.dtype), here.u).requires_grad
    ):
        raise ValueError(
            "`resume` goes on without gradient, and this law or `u0` asks for one; call `simulate` "
            "under torch.no_grad()."
        )
    lowest = resume.lowest
    return Path(
        states=states.reshape(reached, len(here.t), *state),
        reached=here.next,
        outcomes=here.outcomes,
        lowest=None if lowest is None else lowest.to(u0.device).reshape(reached, len(here.t)),
        work=here.work,
        standing=here,
    )


def _progress_bar(wanted: bool) -> AbstractContextManager[Report | None]:
    return _shown() if wanted else nullcontext()


@contextmanager
def _shown() -> Iterator[Report]:
    from tqdm import tqdm

    bar = tqdm(
        total=100, unit="%", desc="simulate", bar_format="{l_bar}{bar}| {elapsed}<{remaining}"
    )

    class OnTheBar(logging.Handler):
        """Shows what the kernels say while they are compiled in the place of the bar's name."""

        def emit(self, record: logging.LogRecord) -> None:
            bar.set_description_str(f"simulate ({record.getMessage()})")

    def report(share: float) -> None:
        if share > 0 and bar.desc != "simulate":
            bar.set_description_str("simulate", refresh=False)
        bar.update(100 * share - bar.n)

    speakers, handler = logging.getLogger("pnpfusion.solvers.kernels"), OnTheBar()
    speakers.addHandler(handler)
    try:
        with bar:
            yield report
    finally:
        speakers.removeHandler(handler)
