"""From the options of ``pnpfusion simulate`` to a cell, its first state and the times."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pnpfusion.cli.messages import CommandError
from pnpfusion.cli.simulate_options import VOLTAGE
from pnpfusion.data import SETS, Features, from_csv, open_set
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.fields import FeatureMap
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.grid import Boundary, Grid
from pnpfusion.solvers.steppers import TRBDF2, BackwardEuler, KenCarp4, Odeint, Stepper

IMPLICIT = {"tr-bdf2": TRBDF2, "kencarp4": KenCarp4, "backward-euler": BackwardEuler}
CELLS_PER_DEBYE, CELLS_PER_FEATURE = 8, 4
NOT_OF_A_RUN = ("start", "command", "sweep", "shard", "stack", "strict")
MOST_CELLS = 4096  #: that are chosen unasked


@dataclass(frozen=True, eq=False)
class Experiment:
    """All that a run needs, and what was settled on the way to it."""

    features: Features  #: the samples that run
    size: int  #: how many samples the set has
    cell: PNP
    c0: Tensor  #: (2 * modalities, N), or (samples, 2 * modalities, N) for a batch
    times: Tensor  #: (T,)
    stepper: Stepper
    settings: dict[str, Any]  #: every option with the value it came to, ready for JSON

    @property
    def is_batch(self) -> bool:
        """Whether several samples run, or one as a batch."""
        return self.c0.ndim > 2


def experiment(
    options: Namespace, scaled_set: Callable[[Namespace], Features] | None = None
) -> Experiment:
    """Read the data and set up the cell.

    Args:
        options: what was typed.
        scaled_set: in the place of :func:`scaled`, which reads the file each time.

    Raises:
        ValueError, OSError, ImportError, CommandError: an option or a file is not usable.
    """
    if options.times < 2:
        raise CommandError("--times must be 2 or more, the start and the end, got 1.")
    if options.voltage and options.boundary != "electrodes":
        raise CommandError(
            f"--voltage {options.voltage:g} needs electrodes, and --boundary {options.boundary} "
            f"has none; leave it out, or use --boundary electrodes."
        )
    whole_set = (scaled_set or scaled)(options)
    picked = pick(options.sample, len(whole_set), options.seed)
    chosen = whole_set.samples(picked)
    if gaps := [*(chosen.present or {})]:
        raise CommandError(
            f"a cell takes samples that have all modalities, but some that --sample "
            f"{options.sample} names lack {gaps}; choose others."
        )
    features = dict(chosen.modalities)
    if tokens := [name for name, values in features.items() if values.ndim > 2]:
        raise CommandError(
            f"a cell takes one row of features a sample, but {tokens} have several tokens; "
            f"average them first."
        )
    if isinstance(picked, int):
        features = {name: values[0] for name, values in features.items()}
    permittivity, fields, c0 = _discretise(options, features)
    fixed_charge = None if options.boundary == "electrodes" else fields.neutralising_charge(c0)
    voltage = _voltage(options)
    species = fields.species(diffusivity=options.diffusivity)
    cell = PNP(
        fields.grid,
        species,
        permittivity=permittivity,
        walls=None
        if voltage is None
        else {"x-": Wall(potential=voltage / 2), "x+": Wall(potential=-voltage / 2)},
        fixed_charge=fixed_charge,
        scheme=options.scheme,
    )
    shares = torch.linspace(0, 1, options.times, dtype=torch.float64)
    settled = {
        "sample": picked,
        "classes": list(chosen.class_names),
        "modality": {name: list(chosen.feature_names[name]) for name in chosen.dims},
        "valence": {one.name: float(one.valence) for one in species},
        "diffusivity": {one.name: one.diffusivity for one in species},
        "permittivity": permittivity,
        "voltage": voltage,
        "cells": fields.cells,
        "fixed_charge": None if fixed_charge is None else fixed_charge.tolist(),
    }
    given = {key: value for key, value in vars(options).items() if key not in NOT_OF_A_RUN}
    return Experiment(
        features=chosen,
        size=len(whole_set),
        cell=cell,
        c0=c0,
        times=options.duration * shares.square(),
        stepper=_stepper(options),
        settings=given | settled,
    )


def scaled(options: Namespace) -> Features:
    """The data set that the options name, standardised unless they say otherwise."""
    whole_set = read(options)
    return whole_set if options.raw else _standardised(whole_set)


def read(options: Namespace) -> Features:
    """The data set that the options name, in float64."""
    path = Path(options.data)
    is_named = options.data.partition(":")[0] in SETS
    is_table = path.suffix.lower() == ".csv" and not is_named
    for option, value in (("--modality", options.modality), ("--label", options.label)):
        if value and not is_table:
            raise CommandError(f"{option} tells of a .csv file, but --data is {options.data}.")
    if is_table:
        groups = None if options.modality is None else dict(options.modality)
        if groups is not None and len(groups) < len(options.modality):
            raise CommandError("--modality has one name twice; list all its columns at once.")
        return from_csv(path, modalities=groups, label=options.label)
    found = open_set(options.data)
    exact = {name: values.double() for name, values in found.modalities.items()}
    return replace(found, modalities=exact)


def pick(text: str, n: int, seed: int) -> int | list[int]:
    """The samples that ``--sample`` names, of ``n``: one index, or several for a batch."""
    if text == "all":
        return list(range(n))
    if text.startswith("random:"):
        count = int(text.removeprefix("random:"))
        if count > n:
            raise CommandError(f"--sample {text} wants more samples than there are, {n}.")
        generator = torch.Generator().manual_seed(seed)
        return sorted(torch.randperm(n, generator=generator)[:count].tolist())
    if ":" not in text:
        if not -n <= int(text) < n:
            raise CommandError(f"--sample {text} is not there; the set has samples 0 to {n - 1}.")
        return int(text) % n
    first, last = (int(end) if end else None for end in text.split(":"))
    if any(end is not None and not -n <= end <= n for end in (first, last)):
        raise CommandError(f"--sample {text} goes beyond the {n} samples; try 0:{n}, or all.")
    found = list(range(n))[first:last]
    if not found:
        raise CommandError(f"--sample {text} is empty; a range ends before its last number.")
    return found


def _standardised(features: Features) -> Features:
    try:
        return features.standardised()
    except ValueError as error:
        raise CommandError(f"{error} On the command line that is --raw.") from None


def _voltage(options: Namespace) -> float | None:
    """What the electrodes are apart; None if there are none."""
    if options.boundary != "electrodes":
        return None
    return VOLTAGE if options.voltage is None else float(options.voltage)


def _discretise(
    options: Namespace, features: dict[str, Tensor]
) -> tuple[float, FeatureMap, Tensor]:
    r"""Permittivity, map and first state, on enough cells.

    :math:`\varepsilon = \lambda^2 \sum_s z_s^2 b` over the species s of the background b, so that
    its Debye length is the :math:`\lambda` asked for. Features add ions and shorten it, so the
    cells are counted by the shortest of the batch.
    """
    dims = {name: values.shape[-1] for name, values in features.items()}
    boundary: Boundary = "periodic" if options.boundary == "periodic" else "wall"
    cells = options.cells or CELLS_PER_FEATURE * max(dims.values())
    while True:
        fields = FeatureMap(
            dims,
            Grid((cells,), (1.0,), (boundary,)),
            background=options.background,
            valence=options.valence,
        )
        c0 = fields.fields(features)
        squares = torch.tensor([float(one.valence) ** 2 for one in fields.species()]).to(c0)
        permittivity = options.debye**2 * options.background * float(squares.sum())
        strength = (squares[:, None] * c0).sum(-2).mean(-1)
        debye = float((permittivity / strength).sqrt().min())
        needed = 32 * math.ceil(CELLS_PER_DEBYE / debye / 32)
        if options.cells is not None or cells >= needed:
            return permittivity, fields, c0
        if needed > MOST_CELLS:
            raise CommandError(
                f"--debye {options.debye:g} is {debye:.2g} among these features and needs {needed} "
                f"cells; choose a larger one, or set --cells yourself {Faq.COARSE_GRID}."
            )
        cells = needed


def _stepper(options: Namespace) -> Stepper:
    if options.stepper in IMPLICIT:
        return IMPLICIT[options.stepper](rtol=options.rtol, max_steps=options.max_steps)
    return Odeint(
        options.stepper,
        rtol=options.rtol,
        atol=options.rtol / 100,
        max_steps=options.max_steps,
    )
