"""What runs begin with in compiled code, against torch: rates, first steps, the steepest face."""

import pytest
import torch
from hypothesis import given, settings

import pnpfusion as pf
from pnpfusion.solvers import KenCarp4
from pnpfusion.solvers.compiled.followed import FollowedCall
from tests.compiled.test_newton import cells
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, blocking_cell, f64, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")


@quiet
@settings(max_examples=40, deadline=None)
@given(cells())
def test_any_cell_has_the_rates_of_torch(made):
    cell, c, _ = made
    law, start = cell.bind(c), c.new_zeros(len(c))
    wanted = law.cell.rate(c)
    assert law.arrays(c) is not None
    size = float(wanted.abs().max()) + 1
    torch.testing.assert_close(law.rate(start, c), wanted, rtol=1e-10, atol=1e-10 * size)
    faces = law.cell.faces(c, law.cell.potential(c))
    steepest = max(float(face.u.abs().max()) for face in faces)
    assert law.steepest(c) == pytest.approx(steepest, rel=1e-9, abs=1e-11)


def started(cell, c, span, stepper):
    """What a run in compiled code begins with: its slopes and the steps, before any is taken."""
    law, control = cell.bind(c), stepper.control(c, span)
    ahead = stepper.plain_steps(law, control).start(c, 0)
    assert int(ahead.steps.sum() + ahead.rejected.sum()) == 0
    return law, control, ahead


@quiet
@settings(max_examples=40, deadline=None)
@given(cells())
def test_any_run_begins_with_the_step_of_torch(made):
    cell, c, _ = made
    span = times(0, 0.3)
    law, control, ahead = started(cell, c, span, KenCarp4(rtol=1e-4, atol=1e-7))
    place = ahead.place
    pace = control.first(law, c, place.slope)
    torch.testing.assert_close(place.dt, pace.dt, rtol=1e-8, atol=0)
    wanted = law.rate(span[:1].expand(len(c)), c)
    torch.testing.assert_close(place.slope, wanted, rtol=0, atol=0)
    assert torch.equal(ahead.values[0], c)
    assert torch.equal(ahead.lowest, law.lowest(c))
    assert place.next.tolist() == [1] * len(c)
    assert ahead.waits.all()


def test_a_run_with_gradient_begins_with_the_same_step(monkeypatch):
    seen, take = [], FollowedCall.take

    def noted(self, run, *rest):
        seen.append((torch.tensor(run.dt), torch.tensor(run.slope)))
        return take(self, run, *rest)

    monkeypatch.setattr(FollowedCall, "take", noted)
    cell, c, span = blocking_cell(), torch.ones(1, 2, 32, dtype=f64), times(0, 0.3)
    place = started(cell, c, span, KenCarp4())[2].place
    pf.simulate(cell, c.requires_grad_(), span)
    assert torch.equal(seen[0][0], place.dt)
    assert torch.equal(seen[0][1], place.slope)


def test_what_is_not_finite_begins_with_a_small_step():
    cell, c = blocking_cell(8), torch.full((1, 2, 8), torch.inf, dtype=f64)
    place = started(cell, c, times(0, 0.3), KenCarp4(rtol=1e-4))[2].place
    assert not place.slope.isfinite().all()
    torch.testing.assert_close(place.dt, torch.tensor([0.3e-6], dtype=f64))


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_what_has_a_gradient_takes_the_rate_of_torch(scheme):
    voltage = torch.tensor(0.5, dtype=f64, requires_grad=True)
    cell, c = blocking_cell(8, voltage=voltage, scheme=scheme), torch.ones(1, 2, 8, dtype=f64)
    law, t = cell.bind(c), torch.zeros(1, dtype=f64)
    assert law.rate(t, c).requires_grad
    assert law.arrays(c) is None
    with torch.no_grad():
        compiled = law.rate(t, c)
    torch.testing.assert_close(compiled, law.rate(t, c).detach(), rtol=1e-10, atol=1e-10)
    numbers = blocking_cell(8, scheme=scheme)
    assert numbers.bind(c).rate(t, c.requires_grad_()).requires_grad


def test_other_precisions_and_boxes_stay_with_torch():
    c = torch.ones(1, 2, 8)
    assert blocking_cell(8).bind(c).compiled is None
    ring = pf.PNP(pf.Grid((8,), (1.0,), ("periodic",)), [pf.Species("a", 1)], permittivity=1.0)
    assert ring.bind(c[:, :1].double()).compiled is None
