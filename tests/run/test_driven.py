"""Walls that change with time: alternating currents, steps, balances, and files of such runs."""

import cmath
import math

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4
from tests.marks import quiet
from tests.registry import f64, random, times

IONS = [pf.Species("cation", 1), pf.Species("anion", -1)]


def line(left, right, *, cells=12, permittivity=0.3, **more):
    grid = pf.Grid((cells,), (1.0,), ("wall",))
    walls = {
        side: wall if isinstance(wall, pf.Wall) else pf.Wall(potential=wall)
        for side, wall in (("x-", left), ("x+", right))
    }
    return pf.PNP(grid, IONS, permittivity=permittivity, walls=walls, **more)


def driven_box():
    """Two axes; one electrode on a part of a wall, whose potential is a field over it."""
    grid = pf.Grid((4, 3), (0.4, 0.3), ("wall", "wall"))
    low = torch.tensor([True, True, False])
    shape = 1 + random(3)
    return pf.PNP(
        grid,
        IONS,
        permittivity=0.5,
        walls={
            "x-": [
                pf.Wall(
                    potential=lambda t: pf.Field(torch.sin(9 * t)[..., None] * shape), mask=low
                ),
                pf.Wall(surface_charge=lambda t: 0.3 * torch.cos(7 * t), mask=~low),
            ],
            "x+": pf.Wall(potential=0.0, stern=0.1),
            "y+": pf.Wall(flux={"anion": lambda t: 0.2 * t}),
        },
    )


# ---- linear response


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


# ---- balances


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


# ---- steps in time, batches, functions


@quiet
def test_a_step_of_the_voltage_is_two_runs_in_one():
    jump = 0.05
    cell = line(lambda t: torch.where(t < jump, 0.0, 2.0), 0.0)
    c0 = torch.ones(2, 12, dtype=f64)
    run = pf.simulate(cell, c0, times(0, 0.04, 0.2), rtol=1e-7).require_success()
    assert torch.equal(run.states[1], c0)
    after = pf.simulate(line(2.0, 0.0), c0, times(0, 0.2 - jump), rtol=1e-7).final
    torch.testing.assert_close(run.final, after, rtol=1e-4, atol=1e-4)
    assert int(run.work.steps) < 400


@quiet
@pytest.mark.parametrize(
    "stepper", [BackwardEuler, TRBDF2, KenCarp4, AsymptoticPreserving], ids=lambda s: s.__name__
)
def test_the_orders_in_time_hold_where_walls_change(stepper):
    cell = line(
        lambda t: torch.sin(20 * t), pf.Wall(potential=0.0, flux={"cation": torch.cos}), cells=6
    )
    c0, span = 0.5 + random(2, 6), times(0, 0.1)
    exact = pf.simulate(cell, c0, span, stepper=KenCarp4(dt=0.1 / 100)).final
    sizes = [0.1 / n for n in ((20, 40, 80) if stepper.order == 1 else (8, 16, 32))]
    errors = [
        float((pf.simulate(cell, c0, span, stepper=stepper(dt=h)).final - exact).abs().max())
        for h in sizes
    ]
    measured = math.log2(errors[0] / errors[2]) / 2
    assert measured == pytest.approx(stepper.order, abs=0.15 if stepper.order < 4 else 1.1)


@quiet
def test_each_sample_has_its_own_wave():
    omega = torch.tensor([3.0, 30.0], dtype=f64)
    together = pf.simulate(
        line(lambda t: torch.sin(omega * t), 0.0), torch.ones(2, 2, 12, dtype=f64), times(0, 0.3)
    )
    for i, w in enumerate(omega.tolist()):
        cell = line(lambda t, w=w: torch.sin(w * t), 0.0)
        alone = pf.simulate(cell, torch.ones(2, 12, dtype=f64), times(0, 0.3))
        torch.testing.assert_close(together.final[i], alone.final, rtol=1e-9, atol=1e-10)
    assert int(together.work.steps[0]) < int(together.work.steps[1])


@quiet
@pytest.mark.parametrize(
    "stepper", [None, BackwardEuler(dt=0.02), AsymptoticPreserving(dt=0.02)], ids=str
)
def test_a_wave_that_is_learnt(stepper):
    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.amplitude = nn.Parameter(torch.tensor(1.5, dtype=f64))
            self.frequency = nn.Parameter(torch.tensor(9.0, dtype=f64))

        def forward(self, t):
            return self.amplitude * torch.sin(self.frequency * t)

    wave = Wave()
    cell = line(wave, 0.0)
    assert {id(p) for p in cell.parameters()} == {id(p) for p in wave.parameters()}

    def loss():
        return pf.simulate(
            cell, torch.ones(2, 12, dtype=f64), times(0, 0.1), stepper=stepper
        ).final[0, 0]

    loss().backward()
    for parameter in wave.parameters():
        with torch.no_grad():
            ends = []
            for move in (1e-3, -1e-3):
                parameter += move
                ends.append(float(loss()))
                parameter -= move
        wanted = (ends[0] - ends[1]) / 2e-3
        assert float(parameter.grad) == pytest.approx(wanted, rel=1e-2 if stepper is None else 1e-5)


@quiet
def test_a_run_starts_at_its_first_time():
    late = pf.simulate(
        line(lambda t: torch.sin(5 * t), 0.0), torch.ones(2, 12).double(), times(3, 3.2)
    )
    soon = pf.simulate(
        line(lambda t: torch.sin(5 * (t + 3)), 0.0), torch.ones(2, 12).double(), times(0, 0.2)
    )
    torch.testing.assert_close(late.final, soon.final, rtol=1e-7, atol=1e-8)


# ---- files


@quiet
def test_a_driven_run_is_kept_with_its_waves(tmp_path):
    for cell in (line(lambda t: torch.sin(9 * t), 0.0), driven_box()):
        c0, span = 0.5 + random(3, 2, *cell.grid.shape), torch.linspace(0, 0.2, 5, dtype=f64)
        alone = pf.simulate(cell, c0[0], span)
        alone.save(tmp_path / "alone.safetensors", overwrite=True)
        back = pf.load(tmp_path / "alone.safetensors")
        torch.testing.assert_close(
            back.ledger.free_energy, alone.ledger.free_energy, rtol=1e-5, atol=1e-6
        )
        run = pf.simulate(cell, c0, span)
        run.save(tmp_path / "run.safetensors", overwrite=True)
        again = pf.load(tmp_path / "run.safetensors")
        assert torch.equal(again.states, run.states)
        for t, c in zip(span, run.states, strict=True):
            wanted, found = cell.potential(c, t=t), again.dynamics.potential(c, t=t)
            torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
        on = pf.simulate(again.dynamics, c0, span)
        torch.testing.assert_close(on.final, run.final, rtol=1e-4, atol=1e-4)
        total = again.dynamics.current(on.final, t=0.15) + again.dynamics.displacement_current(
            on.final, t=0.15
        )
        assert bool(total.isfinite().all())
        on.save(tmp_path / "again.safetensors", overwrite=True)  # tables are written as they are


@quiet
def test_a_cell_alone_cannot_be_written_without_times():
    with pytest.raises(ValueError, match="only a run with its times"):
        line(torch.sin, 0.0).description()


# ---- what is refused


@quiet
@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (lambda t: torch.full_like(t, torch.nan), "must be finite"),
        (lambda t: "2 V", "must be a number, a tensor or a Field"),
        (lambda t: torch.ones(7, dtype=f64), r"the batch shape \(\), got \(7,\)"),
        (lambda t: None, "must be a number, a tensor or a Field"),
    ],
)
def test_functions_that_return_what_is_no_condition_say_so(wave, message):
    with pytest.raises(ValueError, match=message):
        pf.simulate(line(wave, 0.0), torch.ones(2, 12, dtype=f64), times(0, 0.1))


@quiet
def test_equilibrium_refuses_what_changes():
    for walls in (
        (lambda t: t, 0.0),
        (0.0, pf.Wall(potential=1.0, flux={"cation": lambda t: t})),
    ):
        with pytest.raises(ValueError, match="change with time has no equilibrium"):
            pf.equilibrium(line(*walls), torch.ones(2, 12, dtype=f64))


@quiet
@pytest.mark.parametrize("verb", ["simulate", "equilibrium"])
def test_a_function_as_an_input_is_refused(verb):
    """Inputs are values: a function would count at one time only."""
    c0, x = torch.ones(2, 12, dtype=f64), {"potential:x-": torch.sin}
    verbs = {
        "simulate": lambda: pf.simulate(line(1.0, 0.0), c0, times(0, 0.1), x=x),
        "equilibrium": lambda: pf.equilibrium(line(1.0, 0.0), c0, x=x),
    }
    with pytest.raises(ValueError, match="potential:x-"):
        verbs[verb]()
