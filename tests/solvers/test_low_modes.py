"""Series in as many modes as a state needs, and steps as long as its error allows."""

import itertools
import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, IFRK4, axis_modes, transforms
from pnpfusion.solvers.low_modes import LowModes
from pnpfusion.solvers.transforms import from_modes, to_modes
from tests.registry import f64, slope
from tests.solvers.series import SeriesLaw, box, series_cell, smooth_state

METHODS = [IFRK4, ETDRK4]
KINDS = ("periodic", "wall")


def clouds(grid, width=0.08):
    """Two clouds of opposite charge over a background, smooth on 48 cells and more."""
    fields = []
    for places in ((0.35, 0.4, 0.45), (0.65, 0.6, 0.55)):
        field = torch.ones(())
        for axis, at in zip(range(grid.ndim), places, strict=False):
            x = grid.coordinates(axis)
            shifts = (-2, -1, 0, 1, 2)
            copies = [(x - s * at - m) for m in shifts for s in (1, -1) if s > 0 or m % 2 == 0]
            if grid.boundaries[axis] == "wall":
                copies = [x - s * at - 2 * m for m in shifts for s in (1, -1)]
            line = sum(torch.exp(-(c**2) / (2 * width**2)) for c in copies)
            field = field.unsqueeze(-1) * line
        fields.append(0.2 + 5 * field / field.mean() * 0.04)
    return torch.stack(fields).unsqueeze(0)


def counted(monkeypatch):
    """The numbers of modes of every law that is made from now on."""
    seen, of = [], LowModes.of.__func__

    def noted(cls, cell, mean, quickest, kept, *more):
        seen.append(kept)
        return of(cls, cell, mean, quickest, kept, *more)

    monkeypatch.setattr(LowModes, "of", classmethod(noted))
    return seen


def in_all_modes(monkeypatch):
    monkeypatch.setattr(LowModes, "fitting", lambda self, u, negligible: self.semilinear())


def final(law, u0, end, stepper):
    path = stepper.integrate(law, u0, torch.tensor([0, end], dtype=torch.float64))
    assert all(outcome.is_success for outcome in path.outcomes)
    return path.states[-1]


@pytest.mark.parametrize("boundary", KINDS)
@pytest.mark.parametrize("stepper", [ETDRK4(rtol=1e-5), ETDRK4(dt=1e-3)], ids=["rtol", "dt"])
def test_few_modes_answer_like_all(boundary, stepper, monkeypatch):
    grid = box((128, 80), (boundary, "wall"))
    law, u0 = SeriesLaw(series_cell(grid, permittivity=0.02)), clouds(grid)
    with monkeypatch.context() as patch:
        seen = counted(patch)
        few = final(law, u0, 0.01, stepper)
        assert min(math.prod(kept) for kept in seen) < math.prod(grid.shape) / 4
    in_all_modes(monkeypatch)
    allowed = 1e-11 if stepper.dt else 1e-8
    torch.testing.assert_close(few, final(law, u0, 0.01, stepper), rtol=0, atol=allowed)


def test_a_state_that_sharpens_gets_more_modes(monkeypatch):
    grid = box((256,), ("wall",))
    wave = 0.99 * (math.pi * grid.coordinates(0)).cos()
    u0 = torch.stack([1 + wave, 1 - wave]).unsqueeze(0)
    law = SeriesLaw(series_cell(grid, permittivity=2e-3))
    with monkeypatch.context() as patch:
        seen = counted(patch)
        few = final(law, u0, 0.02, ETDRK4(rtol=1e-6))
    runs = [kept for (kept,) in seen if kept < 256]
    assert max(runs) > runs[0]
    in_all_modes(monkeypatch)
    torch.testing.assert_close(few, final(law, u0, 0.02, ETDRK4(rtol=1e-6)), rtol=0, atol=1e-8)


@pytest.mark.parametrize("boundary", KINDS)
def test_harmonics_of_a_lone_mode_are_not_missed(boundary, monkeypatch):
    """One high mode whose products leave a gap below them."""
    grid = box((256,), (boundary,))
    k = (20 if boundary == "wall" else 10) * 2 * math.pi
    wave = 0.5 * (k * grid.coordinates(0)).cos()
    u0 = torch.stack([1 + wave, 1 - wave]).unsqueeze(0)
    law = SeriesLaw(series_cell(grid, permittivity=1e-5))
    few = final(law, u0, 1e-5, ETDRK4(rtol=1e-7))
    in_all_modes(monkeypatch)
    whole = final(law, u0, 1e-5, ETDRK4(rtol=1e-7))
    torch.testing.assert_close(few, whole, rtol=0, atol=1e-9)
    assert float(to_modes(whole[0, 0] - 1, law.cell.bases)[80:].abs().max()) > 1e-4


def test_modes_of_the_fixed_charge_are_kept(monkeypatch):
    grid = box((128,), ("wall",))
    fixed = pf.solvers.Field(0.3 * (40 * math.pi * grid.coordinates(0)).cos())
    law = SeriesLaw(series_cell(grid, fixed_charge=fixed))
    u0 = torch.ones(1, 2, 128, dtype=f64)
    few = final(law, u0, 0.01, ETDRK4(rtol=1e-7))
    in_all_modes(monkeypatch)
    torch.testing.assert_close(few, final(law, u0, 0.01, ETDRK4(rtol=1e-7)), rtol=0, atol=1e-9)
    assert float((few - 1).abs().max()) > 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundaries", [("wall",), ("periodic", "wall")])
def test_the_error_follows_the_tolerance(method, boundaries):
    grid = box((32,) if len(boundaries) == 1 else (24, 20), boundaries)
    law = SeriesLaw(series_cell(grid, permittivity=0.01, diffusivities=[1.0, 1.7]))
    u0 = smooth_state(grid)
    exact = final(law, u0, 0.05, ETDRK4(dt=0.05 / 1000))
    tolerances = [1e-3, 1e-5, 1e-7]
    errors = [
        float((final(law, u0, 0.05, method(rtol=rtol)) - exact).abs().max()) for rtol in tolerances
    ]
    assert 0.5 < slope(tolerances, errors) < 1.2
    assert all(error < 2 * rtol for error, rtol in zip(errors, tolerances, strict=True))


def test_steps_grow_as_a_cell_comes_to_rest():
    grid = box((32,), ("wall",))
    law, u0 = SeriesLaw(series_cell(grid, permittivity=0.005)), smooth_state(grid)
    steps = []
    for end in (0.05, 0.1, 0.8):
        span = torch.tensor([0, end], dtype=f64)
        steps.append(int(ETDRK4(rtol=1e-6).integrate(law, u0, span).work.steps))
    assert steps[2] < 3 * steps[0]


def test_saved_times_are_met_and_samples_keep_their_own_pace():
    grid = box((24,), ("wall",))
    u0 = torch.cat([smooth_state(grid), smooth_state(grid, 0.05)])
    eps = torch.tensor([2e-3, 0.5], dtype=f64)
    times = torch.tensor([0, 0.003, 0.0123, 0.05], dtype=f64)
    stepper = ETDRK4(rtol=1e-6)
    both = stepper.integrate(SeriesLaw(series_cell(grid, permittivity=eps, batch=(2,))), u0, times)
    assert int(both.work.steps[0]) > int(both.work.steps[1])
    for i in range(2):
        law = SeriesLaw(series_cell(grid, permittivity=float(eps[i])))
        alone = stepper.integrate(law, u0[i : i + 1], times)
        assert int(alone.work.steps) == int(both.work.steps[i])
        torch.testing.assert_close(both.states[:, i], alone.states[:, 0], rtol=0, atol=1e-11)
        exact = ETDRK4(dt=2e-5).integrate(law, u0[i : i + 1], times)
        torch.testing.assert_close(alone.states, exact.states, rtol=0, atol=2e-6)
        assert (alone.lowest >= exact.lowest - 1e-6).all()  # steps are fewer, and so are looks


def test_gradients_of_adaptive_runs_in_few_modes():
    """By the state and the permittivity, against differences; a rough direction is told as well."""
    grid = box((64, 48), ("wall", "periodic"))
    u0 = clouds(grid, 0.12)
    rough = torch.randn(u0.shape, dtype=f64, generator=torch.Generator().manual_seed(0))
    rough = 0.1 * (rough - rough.mean((-2, -1), keepdim=True))
    weights = torch.rand(grid.shape, dtype=f64, generator=torch.Generator().manual_seed(1))

    def run(s, eps):
        law = SeriesLaw(series_cell(grid, permittivity=eps))
        return (final(law, u0 + s * rough, 1e-3, ETDRK4(rtol=1e-8)) * weights).sum()

    s, eps = torch.tensor(0.0, dtype=f64), torch.tensor(0.05, dtype=f64)
    inputs = s.requires_grad_(), eps.requires_grad_()
    by_s, by_eps = torch.autograd.grad(run(*inputs), inputs)
    with torch.no_grad():
        central = (run(s + 1e-4, eps) - run(s - 1e-4, eps)) / 2e-4
        shifted = (run(s, eps + 1e-5) - run(s, eps - 1e-5)) / 2e-5
    torch.testing.assert_close(by_s, central, rtol=1e-5, atol=0)
    torch.testing.assert_close(by_eps, shifted, rtol=1e-5, atol=0)


def test_checkpoints_give_the_gradient_of_the_recorded_run():
    grid = pf.Grid((12,), (1.0,), ("wall",))
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    grads = []
    for checkpoints in (None, 2):
        eps = torch.tensor(0.05, dtype=f64, requires_grad=True)
        u0 = smooth_state(grid)[0].requires_grad_()
        cell = pf.PNP(grid, ions, permittivity=eps, scheme="spectral")
        times = torch.tensor([0, 0.004, 0.01], dtype=f64)
        run = pf.simulate(cell, u0, times, stepper=ETDRK4(dt=1e-3), checkpoints=checkpoints)
        grads.append(torch.autograd.grad(run.states.square().sum(), (u0, eps)))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_the_default_of_series_is_adaptive_and_says_so():
    grid = pf.Grid((32,), (1.0,), ("wall",))
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    cell = pf.PNP(grid, ions, permittivity=0.05, scheme="spectral")
    times = torch.tensor([0, 0.01], dtype=f64)
    run = pf.simulate(cell, smooth_state(grid)[0], times, rtol=1e-6)
    assert "adaptive ETDRK4" in run.choice
    assert int(run.work.steps) > 1
    assert float(run.ledger.mass_error.max()) < 1e-14


def test_single_precision_is_adaptive_too():
    grid = box((64,), ("wall",))
    u0 = smooth_state(grid)
    single = final(
        SeriesLaw(series_cell(grid, dtype=torch.float32)), u0.float(), 0.02, ETDRK4(rtol=1e-4)
    )
    assert single.dtype == torch.float32
    wanted = final(SeriesLaw(series_cell(grid)), u0, 0.02, ETDRK4(rtol=1e-4))
    torch.testing.assert_close(single.double(), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dt": 0.1, "rtol": 1e-3}, "`dt` fixes the steps, so it excludes `rtol`"),
        ({"rtol": -1.0}, r"`rtol` must be a finite number > 0, got -1\.0"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        ETDRK4(**settings)


def test_a_tolerance_below_the_precision_is_told():
    grid = box((8,), ("wall",))
    with pytest.raises(ValueError, match=r"`rtol` must be >= 1\.1e-13 for torch\.float64"):
        final(SeriesLaw(series_cell(grid)), smooth_state(grid), 0.1, ETDRK4(rtol=1e-15))


@pytest.mark.parametrize(
    "grid",
    [
        box(shape, boundaries)
        for shape in ((12,), (13, 8), (6, 7, 8))
        for boundaries in itertools.product(KINDS, repeat=len(shape))
    ],
    ids=lambda grid: f"{grid.shape} {grid.boundaries}",
)
def test_matrices_and_fast_transforms_agree(grid, monkeypatch):
    cell, u0 = series_cell(grid, permittivity=0.03), smooth_state(grid)
    rough = u0 + 0.1 * torch.rand(u0.shape, dtype=f64, generator=torch.Generator().manual_seed(0))
    modes, rate = to_modes(rough, cell.bases), cell.rate(rough)
    low = to_modes(rough, cell.bases, cell.resolved)
    monkeypatch.setattr(axis_modes, "MATRICES_UP_TO", dict.fromkeys((1, 2, 3), 0))
    monkeypatch.setattr(transforms, "MATRICES_UP_TO", 0)
    axis_modes._axis_modes.cache_clear()
    try:
        torch.testing.assert_close(to_modes(rough, cell.bases), modes, rtol=0, atol=1e-13)
        torch.testing.assert_close(to_modes(rough, cell.bases, cell.resolved), low)
        torch.testing.assert_close(from_modes(modes, cell.bases), rough, rtol=0, atol=1e-13)
        scale = float(rate.abs().max())
        torch.testing.assert_close(cell.rate(rough), rate, rtol=0, atol=1e-13 * scale)
    finally:
        axis_modes._axis_modes.cache_clear()
