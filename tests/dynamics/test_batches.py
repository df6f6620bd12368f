"""A sample's answer does not depend on its batch mates."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving, KenCarp4, Odeint
from tests.registry import ADAPTIVE, ALL_STEPPERS, blocking_cell, f64, stepper_name, times

VOLTAGES = torch.tensor([0.2, 1.0, 2.0], dtype=f64)
FIXED = [stepper for stepper in ALL_STEPPERS if getattr(stepper, "dt", None) is not None]


def start(batch):
    generator = torch.Generator().manual_seed(0)
    return 1 + 0.2 * torch.rand(3, 2, 32, dtype=f64, generator=generator)[:batch]


@pytest.mark.parametrize("stepper", FIXED, ids=stepper_name)
def test_batch_equals_loop_to_round_off_with_fixed_steps(stepper):
    span = times(0, 1e-3, 2e-3)
    together = pf.simulate(blocking_cell(voltage=VOLTAGES), start(3), span, stepper=stepper)
    for i, voltage in enumerate(VOLTAGES.tolist()):
        alone = pf.simulate(blocking_cell(voltage=voltage), start(3)[i], span, stepper=stepper)
        torch.testing.assert_close(together.states[:, i], alone.states, rtol=1e-12, atol=1e-13)
        assert int(together.work.steps[i]) == int(alone.work.steps)


@pytest.mark.parametrize(
    "stepper", [s for s in ADAPTIVE if not isinstance(s, Odeint)], ids=stepper_name
)
def test_batch_equals_loop_with_adaptive_steps_and_so_do_the_steps(stepper):
    span = times(0, 0.05, 0.2)
    together = pf.simulate(blocking_cell(voltage=VOLTAGES), start(3), span, stepper=stepper)
    for i, voltage in enumerate(VOLTAGES.tolist()):
        alone = pf.simulate(blocking_cell(voltage=voltage), start(3)[i], span, stepper=stepper)
        torch.testing.assert_close(together.states[:, i], alone.states, rtol=1e-9, atol=1e-10)
        assert int(together.work.steps[i]) == int(alone.work.steps)
    assert len(set(together.work.steps.tolist())) > 1  # each at its own pace


def test_odeint_promises_that_mates_make_no_sample_worse():
    """The hard sample sets the steps: it gets the same answer with easy mates as alone."""
    stepper, span = Odeint(rtol=1e-4, atol=1e-6), times(0, 0.01)
    voltages = torch.tensor([5.0, *[0.0] * 7], dtype=f64)
    together = pf.simulate(
        blocking_cell(voltage=voltages), torch.ones(8, 2, 32, dtype=f64), span, stepper=stepper
    )
    alone = pf.simulate(
        blocking_cell(voltage=5.0), torch.ones(2, 32, dtype=f64), span, stepper=stepper
    )
    torch.testing.assert_close(together.final[0], alone.final, rtol=1e-10, atol=1e-10)


def test_every_parameter_may_differ_from_sample_to_sample():
    def cell(voltage, epsilon, d, z, charge):
        return pf.PNP(
            pf.Grid((24,), (1.0,), ("wall",)),
            [pf.Species("cation", z, d), pf.Species("anion", -1)],
            permittivity=epsilon,
            fixed_charge=charge,
            walls={
                "x-": pf.Wall(potential=voltage, stern=epsilon / 10),
                "x+": pf.Wall(surface_charge=charge),
            },
        )

    values = [
        torch.tensor(v, dtype=f64) for v in ([1.0, -2.0], [0.2, 0.5], [1, 3], [1, 2], [0.1, -0.2])
    ]
    c0, span = torch.ones(2, 2, 24, dtype=f64), times(0, 0.1)
    together = pf.simulate(cell(*values), c0, span)
    for i in range(2):
        alone = pf.simulate(cell(*(v[i] for v in values)), c0[i], span)
        torch.testing.assert_close(together.final[i], alone.final, rtol=1e-9, atol=1e-10)


def test_a_ledger_is_the_same_summed_up_in_parts(monkeypatch):
    def each(*values):
        return torch.tensor(values, dtype=f64)

    cell = pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [
            pf.Species("cation", 1, each(1.0, 1.5, 2.0)),
            pf.Species("anion", -1),
            pf.Species("salt", 0),
        ],
        permittivity=each(2.0, 4.0, 8.0),
        walls={
            "x-": pf.Wall(potential=each(0.5, 0.8, 0.1), stern=each(0.1, 0.2, 0.0)),
            "x+": pf.Wall(potential=0.0, concentration={"cation": each(1.0, 1.1, 1.2)}),
        },
        fixed_charge=pf.Field(each(-0.1, 0.0, 0.1)[:, None].expand(3, 8)),
        steric=each(0.1, 0.05, 0.02),
        reactions=[pf.Reaction(["salt"], ["cation", "anion"], each(0.1, 0.2, 0.3), 0.3)],
    )
    run = pf.simulate(
        cell,
        0.5 + torch.rand(3, 3, 8, dtype=f64, generator=torch.Generator().manual_seed(0)),
        times(0, 0.05, 0.1),
    )
    whole = run.ledger
    monkeypatch.setattr("pnpfusion.dynamics.pnp_ledger.MOST_AT_ONCE", 2 * 24)
    parts = cell.ledger(run.times, run.states, run.lowest)
    for name in ("mass", "conserved", "charge", "free_energy", "gauss_error", "smallest"):
        torch.testing.assert_close(
            getattr(parts, name), getattr(whole, name), rtol=1e-13, atol=1e-13
        )
    assert len(set(whole.free_energy[-1].tolist())) == 3


def test_fields_and_several_batch_axes():
    grid = pf.Grid((20,), (1.0,), ("wall",))
    d = 1 + torch.rand(2, 3, 20, dtype=f64, generator=torch.Generator().manual_seed(1))
    charge = 0.1 * torch.randn(20, dtype=f64, generator=torch.Generator().manual_seed(2))
    voltage = torch.linspace(0, 1, 6, dtype=f64).reshape(2, 3)

    def cell(d, voltage):
        return pf.PNP(
            grid,
            [pf.Species("cation", 1, pf.Field(d)), pf.Species("anion", -1)],
            permittivity=pf.Field(torch.linspace(0.2, 0.4, 20, dtype=f64)),
            fixed_charge=pf.Field(charge),
            walls={"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)},
        )

    run = pf.simulate(cell(d, voltage), torch.ones(2, 3, 2, 20, dtype=f64), times(0, 0.1))
    assert run.states.shape == (2, 2, 3, 2, 20)
    assert run.succeeded.shape == (2, 3)
    assert run.ledger.mass.shape == (2, 2, 3, 2)
    alone = pf.simulate(cell(d[1, 2], voltage[1, 2]), torch.ones(2, 20, dtype=f64), times(0, 0.1))
    torch.testing.assert_close(run.final[1, 2], alone.final, rtol=1e-9, atol=1e-10)


def test_a_failed_sample_leaves_its_mates_and_the_past_as_they_are():
    voltages = torch.tensor([0.1, 4e3], dtype=f64)
    stepper = pf.solvers.Euler(dt=9e-4)
    span = torch.linspace(0, 0.2, 21, dtype=f64)
    run = pf.simulate(
        blocking_cell(voltage=voltages, debye=0.4),
        torch.ones(2, 2, 32, dtype=f64),
        span,
        stepper=stepper,
    )
    assert run.succeeded.tolist() == [True, False]
    assert run.outcome is pf.Outcome.NOT_FINITE
    assert run.states[:, 0].isfinite().all()
    assert run.states[0, 1].isfinite().all()
    assert run.final[1].isnan().all()
    alone = pf.simulate(
        blocking_cell(voltage=0.1, debye=0.4), torch.ones(2, 32, dtype=f64), span, stepper=stepper
    )
    torch.testing.assert_close(run.states[:, 0], alone.states, rtol=1e-12, atol=1e-13)


def test_an_empty_batch_is_no_crash():
    run = pf.simulate(blocking_cell(), torch.ones(0, 2, 32, dtype=f64), times(0, 0.1))
    assert run.states.shape == (2, 0, 2, 32)
    assert run.ledger.mass.shape == (2, 0, 2)
    assert run.succeeded.dtype == torch.bool
    pf.simulate(blocking_cell(), torch.ones(0, 2, 32), times(0, 0.1), stepper=Odeint())


@pytest.mark.parametrize("stepper", [KenCarp4(), AsymptoticPreserving(dt=0.01)], ids=stepper_name)
def test_nor_is_one_with_parameters_of_its_own(stepper):
    none = blocking_cell(voltage=VOLTAGES[:0])
    run = pf.simulate(none, start(0), times(0, 0.1), stepper=stepper)
    assert run.states.shape == (2, 0, 2, 32)
    assert pf.equilibrium(none, start(0)).final.shape == (0, 2, 32)
