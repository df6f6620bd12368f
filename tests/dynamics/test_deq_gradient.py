"""Deep equilibrium laws: the gradient of an equilibrium, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.deq_law import DEQLaw
from pnpfusion.solvers import Implicit, Phantom, Picard
from tests.dynamics.deq_cells import cell, gaussian, jacobian, random_masks
from tests.dynamics.deq_laws import N, each_law, features, relative, rest, zeros
from tests.registry import f64


def parameters_and(law: DEQLaw, x: Tensor) -> list[Tensor]:
    return [x, *law.parameters()]


def dense_gradients(law: DEQLaw, x: Tensor, z: Tensor, y: Tensor) -> list[Tensor]:
    """Those of sum(y z*) by solving (I - J)^T w = y, sample by sample, with J written out."""
    rows = []
    for k in range(len(z)):
        blocks = jacobian(law, z[k], x[k].detach()).reshape(z[k].numel(), z[k].numel())
        system = torch.eye(len(blocks), dtype=f64) - blocks
        rows.append(torch.linalg.solve(system.mT, y[k].reshape(-1)).reshape(z[k].shape))
    z = z.detach()
    return [*torch.autograd.grad(cell(law, z, x), parameters_and(law, x), torch.stack(rows))]


@each_law
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_the_dense_one(make: Callable[..., DEQLaw], seed: int) -> None:
    law = make(seed)
    x = features(law).requires_grad_()
    run = rest(law, x).require_success()
    y = gaussian(*run.final.shape, seed=2)
    got = torch.autograd.grad(run.final, parameters_and(law, x), y)
    assert run.backward is not None
    assert run.backward.converged is not None
    assert run.backward.converged.all()
    assert run.backward.evaluations is not None
    assert run.backward.evaluations.shape == run.backward.converged.shape == (4,)
    for one, wanted in zip(got, dense_gradients(law, x, run.final, y), strict=True):
        assert relative(one, wanted) < 1e-8


@each_law
def test_the_gradient_is_that_of_many_rounds(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = {"features": features(law).requires_grad_(), "present": random_masks(4, N)}
    y = gaussian(4, *law.state_shape, seed=2)
    wanted_from = parameters_and(law, x["features"])
    got = torch.autograd.grad(rest(law, x).final, wanted_from, y)
    rounds = pf.unroll(law, zeros(law, x["features"]), 250, x=x)
    for one, wanted in zip(got, torch.autograd.grad(rounds.final, wanted_from, y), strict=True):
        assert relative(one, wanted) < 1e-8


@each_law
def test_the_gradient_is_the_difference_quotient(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law).requires_grad_()
    targets = parameters_and(law, x)
    grads = torch.autograd.grad(rest(law, x).final.sin().sum(), targets)
    for k, (target, grad) in enumerate(zip(targets, grads, strict=True)):
        direction = gaussian(*target.shape, seed=10 + k)
        direction /= direction.norm()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                target.add_(sign * 1e-5 * direction)
                values.append(float(rest(law, x).final.sin().sum()))
                target.sub_(sign * 1e-5 * direction)
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(
            float((grad * direction).sum()), rel=1e-5, abs=1e-7
        )


@each_law
def test_phantom_gradients_come_nearer_with_every_step(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law)
    weights = [*law.parameters()]

    def gradient(kind: object) -> Tensor:
        loss = rest(law, x, gradient=kind).final.sin().sum()
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, weights)])

    exact = gradient(Implicit())
    errors = [relative(gradient(Phantom(steps)), exact) for steps in (1, 5, 60)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


@each_law
def test_two_solves_before_one_backward(make: Callable[..., DEQLaw]) -> None:
    law = make()
    one, two = features(law, seed=1), features(law, seed=3)
    weights = [*law.parameters()]

    def apart(x: Tensor) -> list[Tensor]:
        return [*torch.autograd.grad(rest(law, x).final.sin().sum(), weights)]

    first, second = rest(law, one).final, rest(law, two).final
    (first.sin().sum() + second.sin().sum()).backward()
    for weight, a, b in zip(weights, apart(one), apart(two), strict=True):
        assert weight.grad is not None
        assert relative(weight.grad, a + b) < 1e-9
    rest(law, one).final.sin().sum().backward()  # gradients add up
    for weight, a, b in zip(weights, apart(one), apart(two), strict=True):
        assert weight.grad is not None
        assert relative(weight.grad, 2 * a + b) < 1e-9


def saved_numbers(run: Callable[[], object]) -> int:
    """How many numbers autograd keeps for a backward pass, its leaves and views counted once."""
    seen: dict[int, int] = {}

    def pack(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        kept = run()
    assert kept is not None
    return sum(seen.values())


@each_law
def test_memory_does_not_grow_with_evaluations(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law, 32)  # so that states outweigh the law's weights

    def solve(evaluations: int) -> int:
        solver = Picard(max_evaluations=evaluations)
        return saved_numbers(lambda: rest(law, x, solver=solver, tol=1e-300))

    few, many = solve(5), solve(50)
    assert many == few
    grown = saved_numbers(lambda: pf.unroll(law, zeros(law, x), 50, x=x))
    assert grown > 5 * many
