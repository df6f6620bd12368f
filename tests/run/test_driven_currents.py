"""Currents under alternating voltages: the response of a cell, and what they balance."""

import cmath
import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, KenCarp4
from tests.marks import quiet
from tests.registry import f64, random, times
from tests.run.driven_cells import IONS, driven_box, line


def response(eps, omega, cells):
    """R = phi'(1) / U and the total current over U of a blocking cell, by a run of many periods."""
    amplitude = 1e-3
    s = torch.linspace(-1, 1, cells + 1, dtype=f64)
    edges = ((torch.tanh(2.5 * s) / math.tanh(2.5) + 1).tolist(),)
    grid = pf.Grid((cells,), (2.0,), ("wall",), edges=edges)

    def wave(sign):
        return lambda t: sign * amplitude * torch.sin(omega * t)

    cell = pf.PNP(
        grid,
        IONS,
        permittivity=2 * eps**2,
        walls={"x-": pf.Wall(potential=wave(-1)), "x+": pf.Wall(potential=wave(1))},
    )
    period = 2 * math.pi / omega
    span = torch.linspace(0, 3 * period, 3 * 16 + 1, dtype=f64)
    run = pf.simulate(cell, torch.ones(2, cells, dtype=f64), span, stepper=KenCarp4(rtol=1e-8))
    last = slice(-16, None)

    def harmonic(values):  # of A sin(omega t): the complex A
        phase = torch.exp(-1j * omega * span[last].to(torch.complex128))
        return complex(2j * (values[last].to(torch.complex128) * phase).mean()) / amplitude

    slopes, currents = [], []
    for t, c in zip(span, run.states, strict=True):
        slopes.append(-cell.field(c, t=t)[-1])
        total = cell.current(c, t=t) + cell.displacement_current(c, t=t)
        assert float(total.max() - total.min()) <= 1e-9 * amplitude
        currents.append(total[cells // 2])
    return harmonic(torch.stack(slopes)), harmonic(torch.stack(currents))


@quiet
def test_an_alternating_voltage_has_its_response():
    """R(omega) and the current -i omega eps2 R at eps = .05, omega = 20, error of order 2."""
    eps, omega = 0.05, 20.0
    m = cmath.sqrt(1 / eps**2 + 1j * omega)
    exact = m / (m * (1 - 1 / (eps * m) ** 2) + cmath.tanh(m) / (eps * m) ** 2)
    assert exact == pytest.approx(10.7532826144 - 9.4937539769j, rel=1e-9)
    errors = []
    for cells in (24, 48):
        found, current = response(eps, omega, cells)
        assert current == pytest.approx(-1j * omega * 2 * eps**2 * found, rel=3e-4)
        errors.append(abs(found - exact) / abs(exact))
    assert errors[0] < 1.5e-2
    assert errors[1] < 4e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


@quiet
@pytest.mark.parametrize("stepper", [None, TRBDF2(), AsymptoticPreserving(dt=0.01)], ids=str)
def test_the_total_current_has_no_divergence(stepper):
    cell = line(
        pf.Wall(
            potential=lambda t: 2 * torch.sin(30 * t), stern=0.05, concentration={"cation": 1.3}
        ),
        pf.Wall(potential=lambda t: t**2),
    )
    span = torch.linspace(0, 0.2, 5, dtype=f64)
    run = pf.simulate(cell, 0.5 + random(2, 12), span, stepper=stepper).require_success()
    for t, c in zip(span, run.states, strict=True):
        total = cell.current(c, t=t) + cell.displacement_current(c, t=t)
        size = float(cell.current(c, t=t).abs().max() + total.abs().max())
        assert float(total.max() - total.min()) <= 1e-11 * size


@quiet
def test_nor_has_it_in_two_axes():
    cell, span = driven_box(), torch.linspace(0, 0.2, 5, dtype=f64)
    run = pf.simulate(cell, 0.5 + random(2, 4, 3), span).require_success()
    for t, c in zip(span, run.states, strict=True):
        leaving, size = torch.zeros(4, 3, dtype=f64), 0.0
        for axis in (0, 1):
            total = cell.current(c, axis=axis, t=t) + cell.displacement_current(c, axis=axis, t=t)
            across = cell.grid.weights / cell.grid.widths(axis).reshape(
                (-1, 1) if axis == 0 else -1
            )
            size = max(size, float(total.abs().max() * across.max()))
            leaving = leaving + total.diff(dim=axis) * across
        assert float(leaving.abs().max()) <= 1e-11 * size


@quiet
def test_the_charge_of_an_electrode_grows_by_the_current_into_it():
    """dQ/dt is the displacement current at its wall, by a table of Q over time."""
    cell = line(lambda t: torch.sin(8 * t), 0.0)
    span = times(0, 0.3, 0.31, 0.32, 0.33, 0.34)
    run = pf.simulate(cell, torch.ones(2, 12, dtype=f64), span, stepper=KenCarp4(rtol=1e-9))
    span, states = span[1:], run.states[1:]
    for side, face, sign in (("x-", 0, 1), ("x+", -1, -1)):
        q = torch.stack(
            [cell.electrode_charge(c, side, t=t) for t, c in zip(span, states, strict=True)]
        )
        slope = (8 * (q[3] - q[1]) - (q[4] - q[0])) / (12 * float(span[1] - span[0]))
        into = sign * cell.displacement_current(states[2], t=span[2])[face]
        assert float(slope) == pytest.approx(float(into), rel=1e-5)
    total = sum(cell.electrode_charge(run.final, side, t=span[-1]) for side in ("x-", "x+"))
    assert float(total.abs()) < 1e-12  # the cell is neutral


@quiet
def test_a_surface_charge_that_changes_carries_its_displacement():
    cell = line(pf.Wall(surface_charge=lambda t: torch.sin(3 * t)), 0.0)
    c0, t = 0.5 + random(2, 12), torch.tensor(0.4, dtype=f64)
    found = cell.displacement_current(c0, t=t)
    assert float(found[0]) == pytest.approx(3 * math.cos(1.2), rel=1e-12)
    assert float(cell.electrode_charge(c0, "x-", t=t)) == pytest.approx(math.sin(1.2), rel=1e-12)
