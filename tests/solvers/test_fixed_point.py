"""Solvers of f(u) = 0: what they find, and what they say of what they do not."""

import copy
import dataclasses
import math

import pytest
import torch

from pnpfusion.solvers import (
    Anderson,
    Broyden,
    NewtonKrylov,
    Phantom,
    Picard,
    Tolerance,
    jacobian_penalty,
    solve_fixed_point,
    spectral_radius,
)
from tests.registry import f64
from tests.solvers.nets import Net, every_solver, long, solve


@every_solver
def test_the_fixed_point_of_a_contraction(solver):
    net = Net()
    found = solve(net, long(solver))
    assert found.converged.all()
    assert (torch.tanh(found.u @ net.w.T + net.x) - found.u).abs().max() < 1e-10
    assert found.history.shape[1] == 6
    last = torch.stack([column[~column.isnan()][-1] for column in found.history.T])
    torch.testing.assert_close(last, found.residuals)
    assert (found.residuals <= 1e-11).all()
    assert (found.evaluations >= 2).all()


@every_solver
def test_a_sample_does_not_know_its_mates(solver):
    net = Net()
    together = solve(net, long(solver))
    for row in range(6):
        alone = Net()
        alone.x, alone.u0 = net.x[row : row + 1], net.u0[:1]
        one = solve(alone, long(solver))
        torch.testing.assert_close(one.u[0], together.u[row], rtol=1e-10, atol=1e-10)
        assert one.evaluations.item() == together.evaluations[row]


@every_solver
def test_the_tolerance_knows_neither_width_nor_scale(solver):
    def widened(times):
        def f(u, which):
            return torch.cos(u) - u

        return solve_fixed_point(
            f, torch.zeros(1, times, dtype=f64), solver=long(solver), tolerance=1e-9
        )

    narrow, wide = widened(1), widened(50)
    if not isinstance(solver, NewtonKrylov):  # GMRES ends by round-off of its sums
        assert narrow.evaluations.item() == wide.evaluations.item()
    torch.testing.assert_close(wide.u, narrow.u.expand(1, 50), rtol=1e-12, atol=0)
    assert narrow.u.item() == pytest.approx(0.7390851332151607, rel=1e-8)
    linear = [
        solve_fixed_point(
            lambda u, which, scale=scale: 0.5 * (scale - u),
            torch.zeros(1, 2, dtype=f64),
            solver=long(solver),
            tolerance=1e-9,
        ).evaluations.item()
        for scale in (1.0, 1e6)
    ]
    if not isinstance(solver, NewtonKrylov):
        assert linear[0] == linear[1]


@every_solver
def test_what_has_converged_is_left_alone(solver):
    net = Net(batch=4)
    with torch.no_grad():
        net.x[0] = 0  # rests at the start
    found = solve(net, long(solver))
    assert found.evaluations[0] == 1
    assert torch.equal(found.u[0], net.u0[0])
    assert found.history[1:, 0].isnan().all()
    assert min(net.calls[1:-1]) <= 3


def test_evaluations_are_counted_as_they_are_made():
    for solver in (Picard(), Anderson(), Broyden()):
        net = Net(batch=5)
        with torch.no_grad():
            found = solve(net, solver, tolerance=1e-6)
        assert found.evaluations.sum() == sum(net.calls)


def test_no_answer_is_told_and_the_best_iterate_is_kept():
    def rotation(u, which):
        turned = torch.stack([-u[:, 1], u[:, 0]], 1)
        return 1.5 * turned + 1 - u  # g has eigenvalues +-1.5i, and a fixed point

    u0 = torch.full((1, 2), 0.1, dtype=f64)
    picard = solve_fixed_point(rotation, u0, solver=Picard(), tolerance=1e-8)
    assert not picard.converged
    assert picard.residuals.item() == picard.history.min()
    assert picard.evaluations.item() == 50
    for solver in (Anderson(), Broyden(), NewtonKrylov(), Picard(damping=0.3)):
        found = solve_fixed_point(rotation, u0, solver=long(solver), tolerance=1e-10)
        assert found.converged
        torch.testing.assert_close(rotation(found.u, None), torch.zeros(1, 2, dtype=f64))


@every_solver
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sample_that_is_not_finite_spares_its_mates(solver, bad):
    net, broken = Net(), Net()

    def f(u, which):
        rows = torch.arange(6) if which is None else which
        return torch.where((rows == 2)[:, None], bad, broken(u, which))

    whole, found = solve(net, long(solver)), solve(f_on(f, net), long(solver))
    assert found.converged.tolist() == [True, True, False, True, True, True]
    assert torch.equal(found.u[2], net.u0[2])
    torch.testing.assert_close(found.u[3:], whole.u[3:], rtol=1e-10, atol=1e-10)


def f_on(f, net):
    """``f`` with the start of ``net``."""
    f.u0 = net.u0
    return f


@pytest.mark.parametrize("solver", [Anderson(), Anderson(memory=20), Broyden()])
def test_no_singular_system_stops_an_iteration(solver):
    shapes = {
        "nothing moves": lambda u: 0 * u,
        "the same change every time": lambda u: torch.ones_like(u),
        "one direction only": lambda u: (1 - u[:, :1]).expand_as(u) * 0.5,
        "exact after one step": lambda u: 3 - u,
    }
    for name, f in shapes.items():
        found = solve_fixed_point(
            lambda u, which, f=f: f(u),
            torch.zeros(3, 4, dtype=f64),
            solver=long(solver),
            tolerance=1e-9,
        )
        assert found.u.isfinite().all(), name
        assert found.converged.all() == (name != "the same change every time"), name


def test_an_explosion_is_taken_back():
    """Undamped steps on a stiff residual blow up; half steps from the best iterate do not."""
    decay = torch.tensor([1.0, 900.0], dtype=f64)
    for solver in (Anderson(memory=1), Broyden(memory=1)):
        found = solve_fixed_point(
            lambda u, which: -decay * torch.sinh(u - 1),
            torch.zeros(1, 2, dtype=f64),
            solver=dataclasses.replace(solver, max_evaluations=2000),
            tolerance=1e-6,
        )
        assert found.converged.all()
        torch.testing.assert_close(found.u, torch.ones(1, 2, dtype=f64), rtol=1e-5, atol=1e-5)


def test_newton_needs_no_contraction():
    found = solve_fixed_point(
        lambda u, which: u**3 - 2 * u - 5,
        torch.full((1, 1), 3.0, dtype=f64),
        solver=NewtonKrylov(),
        tolerance=1e-12,
    )
    assert found.converged
    assert found.u.item() == pytest.approx(2.0945514815423265, rel=1e-12)  # Wallis, 1685


@every_solver
def test_single_precision_and_empty_batches(solver):
    net = Net()
    net.w, net.x, net.u0 = net.w.detach().float(), net.x.detach().float(), net.u0.float()
    found = solve(net, long(solver), tolerance=1e-5)
    assert found.converged.all()
    assert found.u.dtype == torch.float32
    none = Net(batch=0)
    assert solve(none, solver).u.shape == (0, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Picard(damping=0), "`damping` must be a finite number > 0, got 0"),
        (lambda: Anderson(memory=0), "`memory` must be a whole number >= 1, got 0"),
        (lambda: Anderson(ridge=-1.0), "`ridge` must be"),
        (lambda: Broyden(memory=1.5), "`memory` must be"),
        (lambda: NewtonKrylov(max_evaluations=0), "`max_evaluations` must be"),
        (lambda: Phantom(steps=0), "`steps` must be"),
    ],
)
def test_wrong_settings_say_what_is_wanted(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_solvers_are_values():
    assert Anderson() == copy.deepcopy(Anderson())
    assert Anderson(memory=3) != Anderson()
    assert "memory=3" in repr(Anderson(memory=3))


def test_a_zero_is_found_within_the_absolute_tolerance():
    u0 = torch.tensor([[1.0], [1e-3]], dtype=f64)
    found = solve_fixed_point(lambda u, _: -u / 2, u0, solver=Picard(), tolerance=1e-9)
    assert found.converged.all()
    assert found.u.abs().max() < 1e-11
    exact = Tolerance(1e-9, 0.0)  # relative to nothing there is no end
    assert not solve_fixed_point(
        lambda u, _: -u / 2, u0, solver=Picard(), tolerance=exact
    ).converged.any()


def test_newton_counts_what_it_asks_for_and_leaves_converged_samples_alone():
    net = Net(batch=1)
    with torch.no_grad():
        found = solve(net, NewtonKrylov(), tolerance=1e-9)
    assert found.converged.all()
    assert sum(net.calls) == found.evaluations.sum()
    few = solve(net, NewtonKrylov(max_evaluations=3), tolerance=1e-9)
    assert few.evaluations.max() <= 5
    assert not few.converged.all()


def test_newton_judges_by_its_step_whatever_the_unit_of_time():
    for unit in (1.0, 1e-10, 1e10):
        found = solve_fixed_point(
            lambda u, _, unit=unit: -unit * (u - 5),
            torch.ones(1, 1, dtype=f64),
            solver=NewtonKrylov(),
            tolerance=1e-9,
        )
        assert found.converged
        assert found.u.item() == pytest.approx(5, rel=1e-9)
    drift = solve_fixed_point(
        lambda u, _: torch.ones_like(u),
        torch.full((1, 1), 2e4),
        solver=NewtonKrylov(),
        tolerance=1e-4,
    )
    assert not drift.converged


@every_solver
def test_a_start_that_is_not_finite_ends_at_once(solver):
    u0 = torch.full((1, 2), 3.0, dtype=f64)
    found = solve_fixed_point(
        lambda u, _: torch.where(u > 2, torch.nan, 1 - u), u0, solver=solver, tolerance=1e-9
    )
    assert not found.converged
    assert found.evaluations.item() == 1
    assert torch.equal(found.u, u0)
    assert not found.residuals.isfinite()


def test_wrong_numbers_say_what_is_wanted():
    net = Net()
    with pytest.raises(ValueError, match="`probes` must be a whole number >= 1, got 0"):
        jacobian_penalty(net, net.u0, probes=0)
    with pytest.raises(ValueError, match="a tolerance must be > 0"):
        solve(net, tolerance=0.0)
    assert spectral_radius(net, net.u0[:0]).shape == (0,)
