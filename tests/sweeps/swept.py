"""Cells and decays to sweep over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import pnpfusion as pf
from pnpfusion.solvers import Heun
from pnpfusion.sweeps.cases import Case
from tests.registry import Decay, blocking_cell, f64, times

VOLTAGES = [0.0, 0.5, 1.0, 1.5, 2.0]
PLAN = {"duration": 0.02, "grid": {"debye": [0.6, 0.8], "voltage": VOLTAGES}}
RATES = {"grid": {"rate": [0.5, 1.0, 2.0]}}  #: of decays
FILES = ["sweep.safetensors", "table.csv", "summary.json"]


class Cells:
    """Runs cells that differ in their voltage, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[Case]] = []

    def __call__(self, cases: list[Case]) -> pf.Solution:
        self.calls.append(cases)
        (debye,) = {case["debye"] for case in cases}
        voltage = torch.tensor([case["voltage"] for case in cases], dtype=f64)
        cell = blocking_cell(16, debye=debye, voltage=voltage)
        return pf.simulate(
            cell, torch.ones(len(cases), 2, 16, dtype=f64), times(0, cases[0]["duration"])
        )


def decays(cases: list[Case]) -> pf.Solution:
    """One number that decays, or blows up where the rate is far below 0."""
    rates = torch.tensor([[case["rate"]] for case in cases], dtype=f64)
    return pf.simulate(
        Decay(),
        torch.ones(len(cases), 1, dtype=f64),
        times(0, 1, 2, 3),
        x=rates,
        stepper=Heun(dt=1.0),
    )


def run(folder: Path, plan: Any = PLAN, **settings: Any) -> tuple[pf.Sweep, Cells]:
    cells = Cells()
    found = pf.sweep(cells, plan, folder, alike=["debye"], stack=2, **settings)
    assert found is not None
    return found, cells


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def change_last_byte(path: Path) -> None:
    """That of a tensor."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
