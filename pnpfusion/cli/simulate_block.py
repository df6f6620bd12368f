"""Cases of a sweep that are run in one call."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pnpfusion.cli.messages import CommandError
from pnpfusion.cli.simulate_cases import options_of
from pnpfusion.cli.simulate_inputs import Experiment, experiment, scaled
from pnpfusion.data import Features
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.dynamics.species import Species
from pnpfusion.run.simulate import simulate
from pnpfusion.solution import Solution
from pnpfusion.solvers.boundary import Wall
from pnpfusion.sweeps.cases import Case, name_of
from pnpfusion.sweeps.records import Record
from pnpfusion.sweeps.rows import records_of


class Blocks:
    """Runs blocks of the cases of a sweep; data are read once."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._names = [name_of(case) for case in cases]
        self._sets: dict[str, Features] = {}

    def check(self, cases: Sequence[Case]) -> None:
        """Set up every case, so that bad input is known before anything runs.

        Raises:
            CommandError: an option or a file is not usable; it says of which case.
        """
        for case in cases:
            self._set_up(case)

    def solve(self, cases: list[Case]) -> list[Record]:
        """A record of each case; those with states of one shape are one call."""
        groups: dict[Any, list[int]] = {}
        setups = [self._set_up(case) for case in cases]
        for place, setup in enumerate(setups):
            kind = tuple(setup.c0.shape), tuple(one.name for one in setup.cell.species)
            groups.setdefault(kind, []).append(place)
        found: dict[int, Record] = {}
        for places in groups.values():
            solution = _together([setups[place] for place in places])
            records = records_of(solution, [cases[place] for place in places], _charge)
            found |= dict(zip(places, records, strict=True))
        return [found[place] for place in range(len(cases))]

    def _set_up(self, case: Case) -> Experiment:
        try:
            return experiment(options_of(case), self._scaled)
        except (ValueError, OSError, ImportError, CommandError) as error:
            place = self._names.index(name_of(case))
            raise CommandError(f"case {place} of {len(self._names)}: {error}") from error

    def _scaled(self, options: Namespace) -> Features:
        key = json.dumps([options.data, options.modality, options.label, options.raw])
        if key not in self._sets:
            self._sets[key] = scaled(options)
        return self._sets[key]


def _together(setups: Sequence[Experiment]) -> Solution:
    """One run of several cells that differ in numbers only."""
    first = setups[0]
    cells = [setup.cell for setup in setups]

    def each(values: Sequence[Any]) -> Any:
        """One number if all agree, else one for each cell and its samples."""
        if all(value is None for value in values):
            return None
        stacked = torch.stack([torch.as_tensor(value, dtype=first.c0.dtype) for value in values])
        if stacked.ndim == 1 and bool((stacked == stacked[0]).all()):
            return float(stacked[0])
        missing = 1 + first.is_batch - stacked.ndim
        return stacked.reshape(*stacked.shape, *(1 for _ in range(missing))).expand(
            -1, *first.c0.shape[:-2]
        )

    species = [
        Species(
            one.name,
            valence=each([cell.species[k].valence for cell in cells]),
            diffusivity=each([cell.species[k].diffusivity for cell in cells]),
        )
        for k, one in enumerate(first.cell.species)
    ]
    voltages = each([setup.settings["voltage"] for setup in setups])
    walls = None
    if voltages is not None:
        walls = {"x-": Wall(potential=voltages / 2), "x+": Wall(potential=-voltages / 2)}
    cell = PNP(
        first.cell.grid,
        species,
        permittivity=each([cell.permittivity for cell in cells]),
        walls=walls,
        fixed_charge=each([cell.fixed_charge for cell in cells]),
        scheme=first.cell.scheme,
    )
    c0 = torch.stack([setup.c0 for setup in setups])
    return simulate(cell, c0, first.times, stepper=first.stepper)


def _charge(solution: Solution) -> dict[str, Tensor]:
    """The charge on the left electrode at the end, the mean of a case's samples."""
    cell = solution.dynamics
    if not isinstance(cell, PNP) or "x-" not in cell.walls:
        return {}
    charge = cell.electrode_charge(solution.final, "x-")
    return {"electrode_charge": charge.reshape(len(charge), -1).mean(-1)}
