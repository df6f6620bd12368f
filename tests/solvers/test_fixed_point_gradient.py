"""Gradients through what a solver of f(u) = 0 finds."""

import pytest
import torch

from pnpfusion.solvers import (
    Anderson,
    ConvergenceWarning,
    Implicit,
    NewtonKrylov,
    Phantom,
    Picard,
    solve_fixed_point,
)
from tests.registry import FIXED_POINT_SOLVERS, f64, random
from tests.solvers.nets import Net, every_solver, long, solve


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


@every_solver
def test_what_depends_on_no_parameter_has_no_gradient(solver):
    net = Net()
    net.w, net.x = net.w.detach(), net.x.detach()
    assert not solve(net, long(solver)).u.requires_grad
