"""Walls that change with time: steps, waves, and files of such runs."""

import math

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4
from tests.marks import quiet
from tests.registry import f64, random, times
from tests.run.driven_cells import driven_box, line


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
