"""Compiled iterations, Krylov spaces and products against their twins in torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pnpfusion.solvers import Anderson, Broyden, Picard, krylov, products
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.fixed_point import compiled
from pnpfusion.solvers.fixed_point.base import FixedPointSolver
from pnpfusion.solvers.products import linear
from tests.registry import f64, random

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")

SOLVERS: list[FixedPointSolver] = [
    Picard(max_evaluations=200),
    Picard(max_evaluations=200, damping=0.7),
    Anderson(),
    Anderson(memory=20, damping=0.8),
    Broyden(),
    Broyden(memory=4),
]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=repr)


class Net:
    """g(u) = tanh(W u + x) of 7 states; ``norm`` above 1 need not contract."""

    def __init__(self, norm: float, dtype: torch.dtype = f64) -> None:
        matrix = random(12, 12, seed=1) - 0.5
        self.w = (matrix * norm / torch.linalg.matrix_norm(matrix, 2)).to(dtype)
        self.x = (2 * random(7, 12, seed=2) - 1).to(dtype)
        self.x[3] = 0  # rests at the start
        self.rows = 0

    def __call__(self, u: Tensor, which: Tensor | None) -> Tensor:
        self.rows += len(u)
        x = self.x if which is None else self.x[which]
        return torch.tanh(u @ self.w.T + x) - u


@every_solver
@pytest.mark.parametrize("norm", [0.8, 2.5])
def test_compiled_rounds_are_those_in_torch(solver: FixedPointSolver, norm: float) -> None:
    one, other = Net(norm), Net(norm)
    assert compiled.is_compiled(one.x)
    got = solver.solve(one, torch.zeros_like(one.x), 1e-7)
    wanted = FixedPointSolver.solve(solver, other, torch.zeros_like(one.x), 1e-7)
    assert one.rows == other.rows
    for name in ("converged", "evaluations"):
        assert torch.equal(getattr(got, name), getattr(wanted, name))
    for name in ("u", "rates", "residuals", "history"):
        torch.testing.assert_close(
            getattr(got, name), getattr(wanted, name), rtol=1e-5, atol=1e-9, equal_nan=True
        )
    if norm < 1:
        assert got.converged.all()


@every_solver
def test_rows_that_explode_or_are_no_numbers_go_the_same_way(solver: FixedPointSolver) -> None:
    def f(u: Tensor, which: Tensor | None) -> Tensor:
        x = torch.arange(4, dtype=f64) if which is None else which.to(f64)
        stretched = (x[:, None] - 3) * u**3 + 1 - u
        return torch.where(x[:, None] == 2, torch.nan, stretched)

    start = torch.full((4, 3), 0.4, dtype=f64)
    got = solver.solve(f, start, 1e-8)
    wanted = FixedPointSolver.solve(solver, f, start, 1e-8)
    assert torch.equal(got.converged, wanted.converged)
    assert not got.converged[2]
    torch.testing.assert_close(got.u, wanted.u, rtol=1e-7, atol=1e-9)


@every_solver
def test_single_precision_is_compiled_too(solver: FixedPointSolver) -> None:
    net = Net(0.8, torch.float32)
    found = solver.solve(net, torch.zeros_like(net.x), 1e-5)
    assert found.u.dtype == found.history.dtype == torch.float32
    assert found.converged.all()
    exact = solver.solve(Net(0.8), torch.zeros(7, 12, dtype=f64), 1e-12)
    torch.testing.assert_close(found.u.double(), exact.u, rtol=1e-4, atol=1e-5)


@every_solver
def test_without_numba_torch_iterates(solver: FixedPointSolver) -> None:
    net = Net(0.8)
    wanted = solver.solve(net, torch.zeros_like(net.x), 1e-9).u
    with using("torch"):
        got = solver.solve(net, torch.zeros_like(net.x), 1e-9).u
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"restart": 5}, {"verify": False}, {"max_iterations": 7}])
@pytest.mark.parametrize("scaled", [False, True])
def test_compiled_gmres_is_that_in_torch(options: dict[str, int], scaled: bool) -> None:
    matrix = torch.eye(20, dtype=f64) + 0.25 * (random(5, 20, 20) - 0.5)
    rhs = random(5, 20, seed=1)
    rhs[2] = 0
    scale = torch.linspace(0.5, 1, 20, dtype=f64) if scaled else torch.ones(20, dtype=f64)

    def solve() -> tuple[Tensor, Tensor, Tensor]:
        return krylov.gmres(
            lambda v: (matrix @ v.unsqueeze(2)).squeeze(2),
            rhs,
            lambda v: v * scale,
            1e-9,
            **options,  # type: ignore[arg-type]
        )

    got = solve()
    with using("torch"):
        wanted = solve()
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_gmres_tells_of_a_system_without_solution() -> None:
    rhs = torch.ones(2, 3, dtype=f64)
    scale = torch.tensor([[0.0], [2.0]], dtype=f64)
    for verify in (True, False):
        x, products_taken, left = krylov.gmres(
            lambda v: scale * v, rhs, lambda v: v, 1e-9, verify=verify
        )
        assert left.tolist() == [1.0, 0.0]
        assert x[1].tolist() == [0.5] * 3
        assert products_taken[0] >= 1


def test_products_by_the_other_library_are_products(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(products, "_leaves_width_unused", lambda: True)
    g = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(*s, generator=g) for s in ((5, 140), (130, 140), (130,)))

    def derivatives(product: object) -> list[Tensor]:
        """Of first and second order."""
        leaves = [v.clone().requires_grad_() for v in (x, w / 12, b)]
        y = product(*leaves).tanh()  # type: ignore[operator]
        first = torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
        size = torch.stack([v.square().sum() for v in first]).sum()
        return [y, *first, *torch.autograd.grad(size, leaves)]

    for got, wanted in zip(derivatives(linear), derivatives(F.linear), strict=True):
        assert float((got - wanted).detach().norm() / wanted.detach().norm()) < 1e-5
    with torch.no_grad():
        torch.testing.assert_close(linear(x, w, b), F.linear(x, w, b), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(linear(x, w), x @ w.T, rtol=1e-4, atol=1e-4)


def test_a_gradient_by_the_input_alone_takes_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(products, "_leaves_width_unused", lambda: True)
    taken, original = [], products._product

    def counted(*args: Tensor) -> Tensor:
        taken.append(1)
        return original(*args)

    monkeypatch.setattr(products, "_product", counted)
    x, w = torch.randn(150, 140).requires_grad_(), torch.randn(130, 140).requires_grad_()
    y = linear(x, w)
    assert len(taken) == 1
    torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    assert len(taken) == 2
    torch.autograd.grad(y, [x, w], torch.ones_like(y))
    assert len(taken) == 4


def test_a_part_of_something_wider_is_copied_before_a_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(products, "_leaves_width_unused", lambda: True)
    whole, w = torch.randn(20, 3, 140), torch.randn(130, 140).requires_grad_()
    seen = []
    monkeypatch.setattr(
        products,
        "_without_gaps",
        lambda m, own=products._without_gaps: seen.append(own(m)) or seen[-1],
    )
    linear(whole[:, 1], w).sum().backward()
    assert len(seen) >= 4
    assert all(m.is_contiguous() or m.mT.is_contiguous() for m in seen)
    torch.testing.assert_close(w.grad, torch.ones(130, 20) @ whole[:, 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError, None])
def test_an_operation_that_is_gone_or_changed_is_not_used(
    error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if error is None:
            return x @ weight.T
        raise error("no such operation")

    monkeypatch.setattr(products, "_product", changed)
    assert not products._still_answers()
    monkeypatch.setattr(products, "_product", F.linear)
    assert products._still_answers()


def test_products_of_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_leaves_width_unused", lambda: products._still_answers())
    for batch in ((), (0,), (2,), (2, 1)):
        x, y = torch.randn(*batch, 130, 140), torch.randn(*batch, 150, 140)
        with torch.no_grad():
            got = products.times_transposed(x, y)
        torch.testing.assert_close(got, x @ y.mT, rtol=1e-4, atol=1e-4)
