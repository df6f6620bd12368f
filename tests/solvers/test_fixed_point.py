"""Solvers of f(u) = 0 and gradients through what they find."""

import copy
import dataclasses
import math

import pytest
import torch

from pnpfusion.solvers import (
    Anderson,
    Broyden,
    ConvergenceWarning,
    Implicit,
    NewtonKrylov,
    Phantom,
    Picard,
    Tolerance,
    jacobian_penalty,
    solve_fixed_point,
    spectral_radius,
)
from tests.registry import FIXED_POINT_SOLVERS, f64, random

every_solver = pytest.mark.parametrize(
    "solver", FIXED_POINT_SOLVERS, ids=lambda one: type(one).__name__
)


class Net:
    """g(u) = tanh(W u + x), a contraction for |W| < 1."""

    def __init__(self, batch=6, width=10, norm=0.8, seed=0):
        matrix = random(width, width, seed=seed) - 0.5
        self.w = (matrix * norm / torch.linalg.matrix_norm(matrix, 2)).requires_grad_()
        self.x = (2 * random(batch, width, seed=seed + 1) - 1).requires_grad_()
        self.u0 = torch.zeros(batch, width, dtype=f64)
        self.calls = []

    def __call__(self, u, which):
        self.calls.append(len(u))
        x = self.x if which is None else self.x[which]
        return torch.tanh(u @ self.w.T + x) - u

    def jacobian(self, u):
        slope = 1 - torch.tanh(u @ self.w.T + self.x) ** 2
        return (slope[:, :, None] * self.w).detach()

    def gradient(self, u, y):
        """What u passes on of its gradient y, by dense algebra: to x and to W."""
        slope = (1 - torch.tanh(u @ self.w.T + self.x) ** 2).detach()
        matrix = torch.eye(u.shape[1], dtype=f64) - self.jacobian(u)
        back = torch.linalg.solve(matrix.mT, y.unsqueeze(-1)).squeeze(-1) * slope
        return back, back.T @ u


def solve(net, solver=None, tolerance=1e-11, gradient=None, u0=None):
    u0 = net.u0 if u0 is None else u0
    solver = Anderson() if solver is None else solver
    return solve_fixed_point(net, u0, solver=solver, tolerance=tolerance, gradient=gradient)


def long(solver):
    return dataclasses.replace(solver, max_evaluations=500)


# ---- what is found


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
        (lambda: Picard(damping=0), "`damping` must be a number > 0, got 0"),
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


# ---- gradients


@every_solver
@pytest.mark.parametrize("backward", [None, *FIXED_POINT_SOLVERS[:3]], ids=str)
def test_the_implicit_gradient_is_that_of_dense_algebra(solver, backward):
    net = Net(norm=0.9)
    gradient = Implicit(solver=None if backward is None else long(backward))
    found = solve(net, long(solver), tolerance=1e-12, gradient=gradient)
    y = random(6, 10, seed=9) - 0.5
    got = torch.autograd.grad(found.u, (net.x, net.w), y)
    for one, wanted in zip(got, net.gradient(found.u.detach(), y), strict=True):
        assert (one - wanted).norm() < 1e-9 * wanted.norm()
    assert found.backward.converged.all()
    assert (found.backward.residuals <= 1e-10).all()
    assert found.backward.evaluations.shape == (6,)


def test_gradcheck():
    net = Net(batch=2, width=4)

    def through(w, x):
        net.w, net.x = w, x
        return solve(net, Anderson(max_evaluations=100), tolerance=1e-13).u

    assert torch.autograd.gradcheck(through, (net.w, net.x))


def test_a_second_derivative_is_an_error():
    net = Net()
    (once,) = torch.autograd.grad(solve(net).u.square().sum(), net.x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.grad(once.sum(), net.x)


def test_forward_derivatives_are_refused_in_words():
    net = Net()

    def through(x):
        net.x = x
        return solve(net).u

    x = net.x.detach()
    with pytest.raises(NotImplementedError, match="go backward only"):
        torch.func.jvp(through, (x,), (torch.ones_like(x),))


def test_two_solves_before_one_backward_and_sums_of_gradients():
    first, second = Net(seed=1), Net(seed=5)
    second.w = first.w
    both = solve(first).u.square().sum() + solve(second).u.square().sum()
    (together,) = torch.autograd.grad(both, first.w)
    apart = [torch.autograd.grad(solve(n).u.square().sum(), n.w)[0] for n in (first, second)]
    torch.testing.assert_close(together, apart[0] + apart[1], rtol=1e-9, atol=1e-9)
    for net in (first, second):
        solve(net).u.square().sum().backward()
    torch.testing.assert_close(first.w.grad, together, rtol=1e-9, atol=1e-9)


def test_backward_twice_through_one_solve():
    net = Net()
    u = solve(net).u
    one = torch.autograd.grad(u.sum(), net.x, retain_graph=True)[0]
    two = torch.autograd.grad(u.sum(), net.x)[0]
    assert torch.equal(one, two)


def test_a_solve_inside_a_solve():
    """An inner fixed point v(u) of 0.4 tanh(v) + 0.3 u + x, in the outer map u = 0.5 tanh(v(u))."""
    x = (random(3, 4, seed=2) - 0.5).requires_grad_()

    def inner(u, x):
        return solve_fixed_point(
            lambda v, which: 0.4 * torch.tanh(v) + (0.3 * u + x)[_all(which)] - v,
            torch.zeros_like(u),
            solver=Picard(max_evaluations=200),
            tolerance=1e-13,
        ).u

    def outer(x):
        return solve_fixed_point(
            lambda u, which: 0.5 * torch.tanh(inner(u, x[_all(which)])) - u,
            torch.zeros(3, 4, dtype=f64),
            solver=Picard(max_evaluations=200),
            tolerance=1e-13,
        ).u

    assert torch.autograd.gradcheck(outer, (x,))


def _all(which):
    return slice(None) if which is None else which


def test_without_gradient_nothing_is_kept():
    net = Net()
    with torch.no_grad():
        found = solve(net)
    assert not found.u.requires_grad
    assert found.backward is None
    assert torch.equal(found.u, solve(net).u.detach())


def test_memory_does_not_grow_with_the_iterations():
    def saved(evaluations):
        net, kept = Net(norm=0.99), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            found = solve(net, Picard(max_evaluations=evaluations), tolerance=1e-18)
        assert found.evaluations.max() == evaluations
        return sum(one.numel() for one in kept)

    assert saved(5) == saved(50)


def test_wrong_gradients_are_flagged_and_can_be_masked():
    net = Net(norm=0.99)
    with torch.no_grad():
        net.x[1:] = 0  # these rest at once
    short = Picard(max_evaluations=3)
    found = solve(net, short)
    assert found.converged.tolist() == [False, *[True] * 5]
    with pytest.warns(ConvergenceWarning, match=r"6 of 6 samples .* may be wrong: 1 did not conv"):
        torch.autograd.grad(found.u.sum(), net.x)
    assert not found.backward.converged.any()
    exact = Implicit(solver=Anderson(max_evaluations=200), mask_unconverged=True)
    found = solve(net, short, gradient=exact)
    with pytest.warns(
        ConvergenceWarning, match="1 of 6 samples have had their gradient set to zero"
    ):
        (to_x,) = torch.autograd.grad(found.u.sum(), net.x)
    assert (to_x[0] == 0).all()
    wanted = net.gradient(found.u.detach(), torch.ones(6, 10, dtype=f64))[0]
    torch.testing.assert_close(to_x[1:], wanted[1:], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("steps", "damping"), [(1, 1.0), (3, 1.0), (3, 0.5)])
def test_the_phantom_gradient_is_that_of_a_few_rounds(steps, damping):
    net = Net()
    found = solve(net, gradient=Phantom(steps=steps, damping=damping))
    u = solve(net).u.detach()
    torch.testing.assert_close(found.u.detach(), u)
    for _ in range(steps):
        u = u + damping * net(u, None)
    got = torch.autograd.grad(found.u.square().sum(), (net.x, net.w))
    wanted = torch.autograd.grad(u.square().sum(), (net.x, net.w))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
    assert "biased" in found.backward.way


def test_the_phantom_gradient_tends_to_the_implicit_one():
    net = Net()
    (exact,) = torch.autograd.grad(solve(net, tolerance=1e-13).u.sum(), net.x)
    errors = [
        float((torch.autograd.grad(solve(net, gradient=g).u.sum(), net.x)[0] - exact).norm())
        for g in (Phantom(), Phantom(steps=5), Phantom(steps=60))
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-9


def test_a_map_that_depends_on_nothing():
    found = solve_fixed_point(
        lambda u, which: torch.ones_like(u) - u.detach(),
        torch.zeros(2, 3, dtype=f64),
        solver=Picard(),
        tolerance=1e-9,
    )
    assert found.converged.all()
    assert not found.u.requires_grad


# ---- the Jacobian


def test_the_penalty_is_unbiased_and_has_a_gradient():
    net = Net(batch=3, width=5)
    u = solve(net).u.detach()
    dense = net.jacobian(u).square().sum() / 15
    with torch.no_grad():  # as in an evaluation loop that still wants the number
        many = jacobian_penalty(net, u, probes=4000, generator=torch.Generator().manual_seed(0))
    assert many.item() == pytest.approx(dense.item(), rel=0.05)
    assert many.requires_grad

    def penalty(w):
        net.w = w
        return jacobian_penalty(net, u, probes=2, generator=torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(penalty, (net.w,))


def test_the_spectral_radius_is_that_of_dense_algebra():
    net = Net(width=12)
    u = solve(net).u.detach()
    dense = torch.linalg.eigvals(net.jacobian(u)).abs().amax(1)
    exact = spectral_radius(net, u, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(exact, dense, rtol=1e-8, atol=1e-8)
    net.w = torch.outer(random(12, seed=3), random(12, seed=4)) / 6  # of rank 1: Arnoldi ends early
    dense = torch.linalg.eigvals(net.jacobian(u)).abs().amax(1)
    ended = spectral_radius(net, u, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ended, dense, rtol=1e-8, atol=1e-8)
    wide = Net(width=80, norm=5.0)
    dense = torch.linalg.eigvals(wide.jacobian(wide.u0)).abs().amax(1)
    some = spectral_radius(wide, wide.u0, generator=torch.Generator().manual_seed(0))
    assert (some <= dense * 1.05).all()
    assert (some >= dense * 0.9).all()


# ---- a peer


@pytest.mark.parametrize("seed", range(3))
def test_torchdeq_finds_and_differentiates_the_same(seed):
    torchdeq = pytest.importorskip("torchdeq", reason="the peer torchdeq is not installed")
    net = Net(seed=seed)
    layer = torchdeq.get_deq(
        f_solver="broyden", b_solver="broyden", f_max_iter=80, b_max_iter=80, f_tol=1e-12,
        b_tol=1e-12, ift=True,
    )  # fmt: skip
    theirs = layer(lambda u: torch.tanh(u @ net.w.T + net.x), net.u0)[0][-1]
    ours = solve(net, tolerance=1e-13).u
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), (net.x, net.w)),
        torch.autograd.grad(theirs.square().sum(), (net.x, net.w)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_solvers_are_values():
    assert Anderson() == copy.deepcopy(Anderson())
    assert Anderson(memory=3) != Anderson()
    assert "memory=3" in repr(Anderson(memory=3))


# ---- what once went wrong


def test_a_zero_is_found_within_the_absolute_tolerance():
    u0 = torch.tensor([[1.0], [1e-3]], dtype=f64)
    found = solve_fixed_point(lambda u, _: -u / 2, u0, solver=Picard(), tolerance=1e-9)
    assert found.converged.all()
    assert found.u.abs().max() < 1e-11
    exact = Tolerance(1e-9, 0.0)  # relative to nothing there is no end
    assert not solve_fixed_point(
        lambda u, _: -u / 2, u0, solver=Picard(), tolerance=exact
    ).converged.any()


@pytest.mark.parametrize("size", [1.0, 1e-10, 1e-25])
def test_the_gradient_does_not_depend_on_the_size_of_the_loss(size):
    net = Net()
    (one,) = torch.autograd.grad(solve(net, Picard(), tolerance=1e-6).u.sum(), net.x)
    (other,) = torch.autograd.grad((size * solve(net, Picard(), tolerance=1e-6).u).sum(), net.x)
    torch.testing.assert_close(other / size, one, rtol=1e-12, atol=1e-12)


def test_an_ill_conditioned_gradient_is_solved_or_flagged():
    n = 60
    values = torch.logspace(0, -2, n, dtype=f64)
    left, right = (torch.linalg.qr(random(n, n, seed=s) - 0.5)[0] for s in (1, 2))
    matrix = left @ torch.diag(values) @ right
    x = (random(2, n) - 0.5).requires_grad_()
    found = solve_fixed_point(
        lambda u, which: -u @ matrix.T + (x if which is None else x[which]),
        torch.zeros(2, n, dtype=f64),
        solver=NewtonKrylov(),
        tolerance=1e-2,
        gradient=Implicit(tolerance=1e-8),
    )
    (got,) = torch.autograd.grad(found.u.sum(), x)
    assert (found.backward.residuals[found.backward.converged] <= 1e-8).all()
    wanted = torch.linalg.solve(matrix.T, torch.ones(n, dtype=f64))
    assert found.backward.converged.all()
    torch.testing.assert_close(got[0], wanted, rtol=1e-4, atol=1e-4)


def test_masked_samples_may_hold_anything():
    net = Net()
    with torch.no_grad():
        net.x[0] = torch.nan
        net.x[1] *= 1e-3
    masked = Implicit(mask_unconverged=True)
    for solver in (Picard(max_evaluations=100), Anderson()):
        found = solve(net, solver, gradient=masked)
        assert found.converged.tolist() == [False, *[True] * 5]
        with pytest.warns(ConvergenceWarning, match="1 of 6 .* zero: 1 did not converge forward"):
            by_x, by_w = torch.autograd.grad(found.u[1:].sum(), (net.x, net.w))
        assert (by_x[0] == 0).all()
        assert by_w.isfinite().all()


def test_phantom_gradients_are_flagged_and_masked_too():
    net = Net(norm=0.99)
    with torch.no_grad():
        net.x[1:] = 0
    short = Picard(max_evaluations=3)
    with pytest.warns(ConvergenceWarning, match="1 of 6 samples have a gradient that may be wrong"):
        solve(net, short, gradient=Phantom())
    with pytest.warns(ConvergenceWarning, match="set to zero"):
        found = solve(net, short, gradient=Phantom(mask_unconverged=True))
    (by_x,) = torch.autograd.grad(found.u.sum(), net.x)
    assert (by_x[0] == 0).all()
    assert (by_x[1:] != 0).all()
    assert found.backward.converged.tolist() == [False, *[True] * 5]


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


@every_solver
def test_what_depends_on_no_parameter_has_no_gradient(solver):
    net = Net()
    net.w, net.x = net.w.detach(), net.x.detach()
    assert not solve(net, long(solver)).u.requires_grad


def test_wrong_numbers_say_what_is_wanted():
    net = Net()
    with pytest.raises(ValueError, match="`probes` must be a whole number >= 1, got 0"):
        jacobian_penalty(net, net.u0, probes=0)
    with pytest.raises(ValueError, match="a tolerance must be > 0"):
        solve(net, tolerance=0.0)
    assert spectral_radius(net, net.u0[:0]).shape == (0,)
