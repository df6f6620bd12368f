"""From a run of several cases to a record of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pnpfusion.solution import Solution
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.sweeps.cases import Case
from pnpfusion.sweeps.records import Record, Row

#: More columns and tensors by name, each ``(n, ...)`` of n cases.
Observe = Callable[[Solution], Mapping[str, Tensor]]

#: What every record has, and that of a law with a ledger.
ALWAYS = ("outcome", "succeeded", "samples", "steps", "end", "times", "states")
LEDGER = ("mass_error", "energy_drop", "energy_largest_rise", "min_concentration")


def records_of(
    solution: Solution, cases: Sequence[Case], observe: Observe | None = None
) -> list[Record]:
    """A record of each case, whose runs are the entries of the first batch axis.

    A row has ``outcome``, ``succeeded`` (of how many ``samples``), ``steps`` and ``end``, the last
    time reached; of a law with a ledger also the largest ``mass_error`` and
    ``energy_largest_rise``, the mean ``energy_drop`` and the smallest concentration,
    ``min_concentration``. Columns from ``observe`` are None where a sample has no answer. The
    tensors are ``times`` and ``states``, up to the end.

    Raises:
        ValueError: the first batch axis is not that of the cases, or ``observe`` returns something
            else than tensors with that first axis, or a name that is taken.
    """
    n = len(cases)
    if not isinstance(solution, Solution):
        raise ValueError(f"`solve` must return a Solution, got {type(solution).__name__}.")
    if solution.succeeded.shape[:1] != (n,):
        raise ValueError(
            f"`solve` must return a Solution whose first batch axis is that of its {n} cases, got "
            f"the batch {tuple(solution.succeeded.shape)}; see `Solution.succeeded`."
        )
    outcomes = _outcomes(solution)
    states = solution.states.detach()
    after = tuple(range(2, states.ndim))
    reached = (~states.isnan().all(after) if after else ~states.isnan()).sum(0).clamp_min(1)
    good, steps = (v.reshape(n, -1) for v in (solution.succeeded, solution.work.steps))
    columns = _ledger(solution, n)
    more = {} if observe is None else _observed(observe(solution), n)
    records = []
    for i, case in enumerate(cases):
        last = int(reached[i])
        row: Row = {
            "outcome": outcomes[i].name,
            "succeeded": int(good[i].sum()),
            "samples": good.shape[1],
            "steps": int(steps[i].max()) if steps[i].numel() else 0,
            "end": float(solution.times[last - 1]),
        }
        tensors = {
            "times": solution.times[:last].clone(),
            "states": states[:last, i].clone(memory_format=torch.contiguous_format),
        }
        for name, values in (columns | more).items():
            if name in row or name in tensors:
                raise ValueError(f"`observe` returns {name!r}, a name that is taken; choose one.")
            if values.ndim == 1:
                blank = name in more and not bool(good[i].all())
                row[name] = None if blank else plain(values[i])
            else:
                tensors[name] = values[i].detach().clone(memory_format=torch.contiguous_format)
        records.append(Record(case, row, tensors))
    return records


def plain(value: Tensor) -> float | int | bool | None:
    """A number for JSON, which has none for infinity and NaN."""
    number: float | int | bool = value.item()
    return number if math.isfinite(number) else None


def _outcomes(solution: Solution) -> list[Outcome]:
    """How each case ended, by the worst of its samples."""
    n, good = len(solution.succeeded), solution.succeeded.reshape(len(solution.succeeded), -1)
    if solution.standing is None:
        fine = solution.outcome if solution.outcome.is_success else Outcome.REACHED_END
        return [fine if bool(good[i].all()) else solution.outcome for i in range(n)]
    each = good.shape[1]
    return [
        max(
            solution.standing.outcomes[i * each : (i + 1) * each],
            key=lambda outcome: outcome.severity,
            default=Outcome.REACHED_END,
        )
        for i in range(n)
    ]


def _ledger(solution: Solution, n: int) -> dict[str, Tensor]:
    try:
        ledger = solution.ledger
    except ValueError:  # the law keeps none
        return {}
    return {
        "mass_error": ledger.mass_error.reshape(n, -1).amax(-1),
        "energy_drop": ledger.energy_drop.reshape(n, -1).mean(-1),
        "energy_largest_rise": ledger.energy_largest_rise.reshape(n, -1).amax(-1),
        "min_concentration": ledger.min_concentration.reshape(n, -1).amin(-1),
    }


def _observed(found: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    if not isinstance(found, Mapping):
        raise ValueError(f"`observe` must return a dict of tensors, got {type(found).__name__}.")
    for name, values in found.items():
        if not isinstance(values, Tensor) or values.shape[:1] != (n,):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"`observe` must give {name!r} a tensor ({n}, ...), an entry for each case, got "
                f"{got}."
            )
    return dict(found)
