"""The same answers on a CUDA device; run with `make test ARGS="-m gpu"` where there is one."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, AsymptoticPreserving, KenCarp4, banded
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.device import banded as device_banded
from tests.registry import ALL_SCHEMES, ALL_STEPPERS, blocking_cell, f64, ring, stepper_name, times
from tests.solvers.test_banded import random_system

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


def both(cell, c0, span, stepper):
    """The same run here and on the card."""
    return [pf.simulate(cell, start, span, stepper=stepper) for start in (c0, c0.cuda())]


@pytest.mark.parametrize("way", [device_banded.by_elimination, device_banded.by_reduction])
@pytest.mark.parametrize("cells", [1, 31, 32, 33, 257])
@pytest.mark.parametrize("batch", [1, 31, 33, 300])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_lines_are_solved_to_round_off(size, batch, cells, way):
    system = random_system(cells, size, batch=batch)
    x = way(*(part.cuda() for part in system)).cpu()
    torch.testing.assert_close(x, banded._solve_lapack(*system), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_many_adaptive_runs_take_the_processor_s_steps(scheme):
    voltage = torch.linspace(0.1, 3.0, 70, dtype=f64)
    cell = blocking_cell(voltage=voltage, scheme=scheme)
    span = torch.linspace(0, 0.3, 7, dtype=f64)
    here, there = both(cell, torch.ones(70, 2, 32, dtype=f64), span, KenCarp4(rtol=1e-6))
    assert there.succeeded.all()
    torch.testing.assert_close(there.states.cpu(), here.states, rtol=1e-8, atol=1e-9)
    assert torch.equal(there.work.steps.cpu(), here.work.steps)
    assert float(there.ledger.mass_error.max()) <= 1e-12


def test_a_sample_of_a_run_is_the_same_bit_for_bit_whatever_its_mates():
    voltage = torch.linspace(0.1, 3.0, 40, dtype=f64)
    span, c0 = times(0, 0.3), torch.ones(40, 2, 32, dtype=f64).cuda()
    together = pf.simulate(blocking_cell(voltage=voltage), c0, span).final
    for i in (0, 31, 32, 39):
        alone = pf.simulate(blocking_cell(voltage=voltage[i : i + 1]), c0[:1], span).final
        assert torch.equal(alone[0], together[i])


def test_recorded_steps_are_those_of_the_processor():
    c0 = torch.ones(5, 2, 32, dtype=f64)
    span = torch.linspace(0, 0.1, 3, dtype=f64)  # 50 steps between each two: replayed
    here, there = both(blocking_cell(), c0, span, AsymptoticPreserving(dt=1e-3))
    torch.testing.assert_close(there.states.cpu(), here.states, rtol=1e-9, atol=1e-10)
    assert torch.equal(there.work.steps.cpu(), here.work.steps)


@pytest.mark.parametrize("cells", [64, 700])  # by matrices, by the FFT
def test_series_agree_with_the_processor_s(cells):
    grid = pf.Grid((cells,), (1.0,), ("periodic",))
    species = [pf.Species("cation", +1), pf.Species("anion", -1)]
    cell = pf.PNP(grid, species, permittivity=0.2, scheme="spectral")
    wave = 1 + 0.5 * torch.sin(2 * torch.pi * grid.coordinates(0))
    here, there = both(cell, torch.stack([wave, wave.flip(0)]), times(0, 0.01), ETDRK4(dt=1e-3))
    torch.testing.assert_close(there.final.cpu(), here.final, rtol=1e-10, atol=1e-11)


def test_kernels_and_torch_agree_on_the_card():
    c0, runs = torch.ones(4, 2, 32, dtype=f64).cuda(), []
    for choice in ("triton", "torch"):
        with using(choice):
            runs.append(pf.simulate(blocking_cell(), c0, times(0, 0.1), stepper=KenCarp4()))
    torch.testing.assert_close(runs[0].final, runs[1].final, rtol=1e-9, atol=1e-10)
