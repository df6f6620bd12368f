import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import Euler
from tests.registry import ALL_DYNAMICS, Decay, blocking_cell, f64


@pytest.mark.parametrize("law", ALL_DYNAMICS, ids=lambda law: type(law[0]).__name__)
@pytest.mark.filterwarnings("ignore::pnpfusion.dynamics.resolution.StabilityWarning")
def test_rounds_are_forward_euler_steps(law):
    dynamics, u0 = law
    run = pf.unroll(dynamics, u0, 4, step=1e-3)
    euler = pf.simulate(dynamics, u0, torch.arange(5, dtype=f64) * 1e-3, stepper=Euler(dt=1e-3))
    torch.testing.assert_close(run.states, euler.states, rtol=1e-12, atol=1e-12)
    assert run.times.tolist() == [0, 1, 2, 3, 4]


def test_the_law_is_called_once_a_round():
    calls = []

    class Counted(Decay):
        def rate(self, t, u, x=None):
            calls.append(t)
            return super().rate(t, u, x)

    pf.unroll(Counted(), torch.ones(3), 5)
    assert len(calls) == 5


def test_gradients_through_all_rounds():
    u0 = torch.tensor([[0.5, 2.0]], dtype=f64, requires_grad=True)
    x = torch.tensor([[0.3, 0.7]], dtype=f64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u, x: pf.unroll(Decay(), u, 3, x=x).final, (u0, x))


def test_gradients_to_the_size_of_a_step():
    step = torch.tensor(0.5, dtype=f64, requires_grad=True)
    u0 = torch.tensor([[0.5, 2.0]], dtype=f64)
    assert torch.autograd.gradcheck(lambda s: pf.unroll(Decay(), u0, 3, step=s).final, (step,))
    plain = pf.unroll(Decay(), u0, 3, step=np.float32(0.5))
    assert torch.equal(plain.final, pf.unroll(Decay(), u0, 3, step=step).final)


def test_steps_above_the_stability_limit_grow_and_say_so():
    h = 2 / 32
    c0 = 1 + 0.1 * torch.rand(2, 32, dtype=f64, generator=torch.Generator().manual_seed(0))
    calm = pf.unroll(blocking_cell(), c0, 200, step=0.4 * h**2)
    assert calm.succeeded
    wild = pf.unroll(blocking_cell(), c0, 2000, step=1.5 * h**2)
    assert not wild.succeeded
    assert wild.outcome is pf.Outcome.NOT_FINITE


@pytest.mark.parametrize(
    ("rounds", "step", "message"),
    [
        (-1, 1.0, "`rounds` must be"),
        (1.5, 1.0, "`rounds` must be"),
        (1, torch.tensor(-1.0), "`step` must be a finite number > 0, got -1"),
        (1, 0.0, "`step` must be a finite number"),
    ],
)
def test_wrong_rounds_say_what_is_wanted(rounds, step, message):
    with pytest.raises(ValueError, match=message):
        pf.unroll(Decay(), torch.ones(1), rounds, step=step)
