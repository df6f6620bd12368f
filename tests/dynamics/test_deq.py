"""Deep equilibrium laws: what the solves find, what they do not, and three roads to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.deq_law import DEQLaw
from pnpfusion.solvers import (
    RK4,
    Anderson,
    Broyden,
    ConvergenceWarning,
    NewtonKrylov,
    Outcome,
    Picard,
)
from tests.dynamics.deq_cells import cell, gaussian, random_masks
from tests.dynamics.deq_laws import N, contractive, each_law, features, paper, relative, rest, zeros
from tests.registry import times


@each_law
def test_an_equilibrium_stands_still(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law)
    run = rest(law, x).require_success()
    assert run.outcome is Outcome.CONVERGED
    assert run.final.shape == (4, *law.state_shape)
    torch.testing.assert_close(cell(law, run.final, x), run.final, rtol=1e-10, atol=1e-10)
    assert run.residuals.max() < 1e-11
    assert run.history is not None
    assert run.history.shape[1:] == (4,)
    assert run.work.rate_calls.shape == (4,)


def test_block_after_block_is_all_at_once() -> None:
    for seed in range(3):
        law = paper(seed)
        x = {"features": features(law), "present": random_masks(4, N)}
        start = zeros(law, x["features"])
        apart = law.solve_equilibrium(start, x, 1e-12)
        together = DEQLaw.solve_equilibrium(law, start, x, 1e-12)
        plain = pf.Dynamics.solve_equilibrium(law, start, x, 1e-12)
        for found in (apart, together, plain):
            assert found.converged.all()
            torch.testing.assert_close(found.u, apart.u, rtol=1e-10, atol=1e-10)


def test_blocks_count_by_their_cost() -> None:
    law = paper()
    x = features(law)
    start = zeros(law, x)
    seen, calls = [0] * (N + 1), [0] * (N + 1)

    def count(k: int) -> Callable[..., None]:
        def hook(module: object, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[k] += len(output)
            calls[k] += 1

        return hook

    for k, block in enumerate([*law.unimodal, law.fusion]):
        block.register_forward_hook(count(k))
    with torch.no_grad():
        found = law.solve_equilibrium(start, x, 1e-9)
    assert int(found.evaluations.sum()) == pytest.approx(sum(seen) / (N + 1), abs=4)
    assert all(rows < 4 * times for rows, times in zip(seen, calls, strict=True))  # some ended


@each_law
@pytest.mark.parametrize(
    "solver",
    [Picard(max_evaluations=400), Anderson(), Broyden(max_evaluations=100), NewtonKrylov()],
)
def test_solvers_agree(make: Callable[..., DEQLaw], solver: object) -> None:
    law = make()
    x = features(law)
    run = rest(law, x, solver=solver).require_success()
    assert "as asked" in run.choice
    torch.testing.assert_close(run.final, rest(law, x).final, rtol=1e-9, atol=1e-9)


@each_law
def test_a_sample_does_not_depend_on_its_batch_mates(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law, 6)
    x[1] *= 10
    x.requires_grad_()

    def solve(rows: list[int]) -> tuple[Tensor, Tensor]:
        states = rest(law, x[rows]).final
        (grad,) = torch.autograd.grad(states.sin().sum(), x)
        return states.detach(), grad[rows]

    whole = solve([*range(6)])
    for rows in ([5, 3, 1, 0, 2, 4], [2, 1], *([k] for k in range(6))):
        for got, wanted in zip(solve(rows), whole, strict=True):
            torch.testing.assert_close(got, wanted[rows], rtol=1e-9, atol=1e-10)


@each_law
def test_permuted_modalities_give_the_same_fused_state(make: Callable[..., DEQLaw]) -> None:
    law, other = make(0), make(1)
    order = [2, 0, 1]
    weights = {}
    for key, value in law.state_dict().items():
        head, *tail = key.split(".")
        if head == "unimodal":
            key = ".".join([head, str(order.index(int(tail[0]))), *tail[1:]])
        stacked = ("state_weights", "feedback_weights", "input_weights", "biases", "sum_weights")
        weights[key] = value[order] if key in stacked else value
    other.load_state_dict(weights)
    x = features(law)
    got, wanted = rest(other, x[:, order]).final, rest(law, x).final
    torch.testing.assert_close(got[:, -1], wanted[:, -1], rtol=1e-10, atol=1e-10)


def test_a_weight_before_a_norm_has_no_scale() -> None:
    law, x = paper(), features(paper())
    wanted = rest(law, x).final
    with torch.no_grad():
        law.unimodal[0].linear1.weight.mul_(3)
        law.unimodal[0].linear1.bias.mul_(3)
    assert relative(rest(law, x).final, wanted) < 1e-4  # but for the norm's eps


# What is not found


@each_law
def test_too_few_evaluations_are_reported(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law)
    run = rest(law, x, solver=Picard(max_evaluations=2))
    assert run.outcome is Outcome.NOT_CONVERGED
    assert not run.succeeded.any()
    assert run.final.isfinite().all()
    with pytest.warns(ConvergenceWarning, match="gradient that may be wrong"):
        run.final.sum().backward()


def test_wrong_gradients_of_the_cascade_say_of_which_block_they_are() -> None:
    law = paper()
    run = rest(law, features(law), solver=Picard(max_evaluations=2))
    with pytest.warns(ConvergenceWarning) as said:
        run.final.sum().backward()
    words = [str(one.message) for one in said]
    for block in (*(f"the block of modality {k + 1} of {N}" for k in range(N)), "the fused block"):
        assert sum(f"may be wrong in {block}: " in one for one in words) == 1


@each_law
def test_a_gradient_that_comes_broken_is_not_laid_to_the_solve(make: Callable[..., DEQLaw]) -> None:
    law = make()
    run = rest(law, features(law)).require_success()
    worth = torch.ones(len(run.final), dtype=run.final.dtype)
    worth[1] = torch.nan
    with pytest.warns(ConvergenceWarning) as said:
        (run.final.flatten(1).sum(1) * worth).sum().backward()
    words = [str(one.message) for one in said]
    assert any(f"not finite in 1 of {len(worth)} samples before it goes" in one for one in words)
    assert not any("max_evaluations" in one for one in words)


@each_law
def test_a_sample_that_is_not_finite_is_reported_and_spares_others(
    make: Callable[..., DEQLaw],
) -> None:
    law = make()
    x = features(law)
    alone = rest(law, x[1:]).final
    x[0, 0, 0] = torch.nan
    run = rest(law, x)
    assert run.succeeded.tolist() == [False, True, True, True]
    torch.testing.assert_close(run.final[1:], alone, rtol=1e-10, atol=1e-10)


@each_law
def test_weights_that_are_not_finite_are_reported(make: Callable[..., DEQLaw]) -> None:
    law = make()
    with torch.no_grad():
        next(law.parameters()).view(-1)[0] = torch.nan
    assert not rest(law, features(law)).succeeded.any()


# Three roads


@each_law
def test_one_fixed_point_by_three_roads(make: Callable[..., DEQLaw]) -> None:
    law = make()
    x = features(law)
    start = gaussian(4, *law.state_shape, seed=3)
    found = pf.equilibrium(law, zeros(law, x), x=x, tol=1e-12).final
    rounds = pf.unroll(law, start, 150, x=x).final
    followed = pf.simulate(law, start, times(0, 100), x=x, rtol=1e-7).final
    torch.testing.assert_close(rounds, found, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(followed, found, rtol=1e-5, atol=1e-5)


@each_law
def test_following_the_law_has_a_gradient(make: Callable[..., DEQLaw]) -> None:
    """With states taken again too: what a run computes once belongs to its inputs."""
    law = make(0, 2, 8)
    x = features(law)
    targets = [*law.parameters()]

    def gradient(checkpoints: int | None) -> list[Tensor]:
        path = pf.simulate(
            law,
            zeros(law, x),
            times(0, 1),
            x=x,
            stepper=RK4(dt=0.1),
            checkpoints=checkpoints,
        )
        return [*torch.autograd.grad(path.final.sin().sum(), targets)]

    for plain, again in zip(gradient(None), gradient(3), strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-10, atol=1e-12)


def test_picard_is_the_unrolled_cell() -> None:
    law = contractive()
    x = features(law)
    for rounds in (1, 3, 7):
        solver = Picard(max_evaluations=rounds + 1)
        found = rest(law, x, solver=solver, tol=1e-300).final
        assert torch.equal(found, pf.unroll(law, zeros(law, x), rounds, x=x).final)
