"""The same answers on a CUDA device; run with `make test ARGS="-m gpu"` where there is one."""

import pytest
import torch

import pnpfusion as pf
from tests.registry import ALL_STEPPERS, blocking_cell, f64, ring, stepper_name, times

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("stepper", ALL_STEPPERS, ids=stepper_name)
@pytest.mark.parametrize("make", [blocking_cell, ring])
def test_runs_agree_with_the_processor_s(make, stepper):
    c0 = torch.ones(3, 2, 32, dtype=f64)
    here = pf.simulate(make(), c0, times(0, 1e-3), stepper=stepper)
    there = pf.simulate(make(), c0.cuda(), times(0, 1e-3), stepper=stepper)
    assert there.states.is_cuda
    torch.testing.assert_close(there.final.cpu(), here.final, rtol=1e-9, atol=1e-10)
    assert float(there.ledger.mass_error.max()) <= 1e-12


def test_gradients_agree_with_the_processor_s():
    gradients = []
    for device in ("cpu", "cuda"):
        voltage = torch.tensor([0.5, 1.0], dtype=f64, device=device, requires_grad=True)
        c0 = torch.ones(2, 2, 32, dtype=f64, device=device)
        final = pf.simulate(blocking_cell(voltage=voltage), c0, times(0, 1e-2)).final
        gradients.append(torch.autograd.grad(final.square().sum(), voltage)[0].cpu())
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)
