"""Deep equilibrium fusion: what the solves find, their gradients, and the layer around them."""

from __future__ import annotations

import warnings
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
    Implicit,
    NewtonKrylov,
    Outcome,
    Phantom,
    Picard,
    jacobian_penalty,
)
from tests.registry import f64, times
from tests.test_deq_cell import cell, gaussian, jacobian, measured_contraction, random_masks

N, D = 3, 32


def paper(seed: int = 0, number: int = N, width: int = D) -> pf.DEQ:
    """The paper's cell with the gains of the last norms at 0.3, which makes it contract."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        law = pf.DEQ(number, width).double()
    with torch.no_grad():
        for norm in [law.fusion.norm, *(block.norm3 for block in law.unimodal)]:
            norm.weight.mul_(0.3)
    return law


def contractive(seed: int = 0, number: int = N, width: int = 16) -> pf.ContractiveDEQ:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return pf.ContractiveDEQ(number, width).double()


LAWS: dict[str, Callable[..., DEQLaw]] = {"paper": paper, "contractive": contractive}
each_law = pytest.mark.parametrize("make", LAWS.values(), ids=LAWS)


def features(law: DEQLaw, samples: int = 4, seed: int = 1) -> Tensor:
    return gaussian(samples, law.modalities, law.width, seed=seed)


def zeros(law: DEQLaw, x: Tensor) -> Tensor:
    return x.new_zeros(len(x), *law.state_shape)


def rest(law: DEQLaw, x: object, **options: object) -> pf.Solution:
    features = x["features"] if isinstance(x, dict) else x
    options = {"tol": 1e-12, **options}
    return pf.equilibrium(law, zeros(law, features), x=x, **options)  # type: ignore[arg-type]


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).detach().norm() / wanted.detach().norm())


# What is found


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


# Its gradient


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


# The contraction, trained


def layer_and_task(dtype: torch.dtype) -> tuple[pf.fusion.DEQ, dict[str, Tensor], Tensor]:
    """y is the sign of a product of one number in each modality."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = pf.fusion.DEQ({"a": 4, "b": 5}, 16).to(dtype)
    a, b = gaussian(256, 4, seed=4).to(dtype), gaussian(256, 5, seed=5).to(dtype)
    return layer, {"a": a, "b": b}, (a[:, 0] * b[:, 0] > 0).to(dtype)


def test_training_keeps_the_contraction() -> None:
    layer, inputs, target = layer_and_task(torch.float32)
    law = layer.dynamics
    assert isinstance(law, pf.ContractiveDEQ)
    head = torch.nn.Linear(16, 1)
    optimiser = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=2e-2)
    generator = torch.Generator().manual_seed(6)

    def check(layer: pf.fusion.DEQ) -> None:
        present = {"a": torch.rand(256, generator=generator) < 0.7}
        exact = {name: values.double() for name, values in inputs.items()}
        for flags in (None, present):
            layer.tol = 1e-6
            _, info = layer(exact, present=flags, return_info=True)
            layer.tol = None
            assert info.succeeded.all()
            assert info.iterations.max() <= 25
            assert info.solution is not None
            assert measured_contraction(law, info.solution.x, 256) <= law.contraction
            x, at = info.solution.x, info.solution.final.detach()
            for k in range(0, 256, 16):
                one = {name: values[k] for name, values in x.items()} if flags else x[k]
                blocks = jacobian(law, at[k], one).reshape(at[k].numel(), at[k].numel())
                assert torch.linalg.eigvals(blocks).abs().max() <= law.contraction

    check(layer.double())
    layer.float()
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            head(layer(inputs)).squeeze(1), target
        )
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 < 0.5 < losses[0]
    check(layer.double())


# The layer

DIMS = {"audio": 8, "motion": 8}


def bare(out_dim: int = 8, **options: object) -> pf.fusion.DEQ:
    """The paper's cell and nothing else, in a state in which it contracts."""
    layer = pf.fusion.DEQ(DIMS, out_dim, cell=paper(0, 2, 8), **options)  # type: ignore[arg-type]
    return layer.double()


def samples(count: int = 5) -> dict[str, Tensor]:
    return {name: gaussian(count, d, seed=k) for k, (name, d) in enumerate(DIMS.items())}


def test_the_papers_cell_needs_no_more_parameters() -> None:
    layer = pf.fusion.DEQ(DIMS, 8, cell="paper")
    assert sum(p.numel() for p in layer.parameters()) == 547
    assert all(name.startswith("dynamics.") for name in layer.state_dict())
    for d, wanted in ((16, 16), (6, 8)):  # one width of all modalities, if the norms can take it
        common = pf.fusion.DEQ({"audio": d, "motion": d}, 8, cell="paper")
        assert common.dynamics.width == wanted
        own = isinstance(common.projections[0], torch.nn.Identity)
        assert own == (d == wanted)
    wider = pf.fusion.DEQ({"audio": 8, "motion": 3}, 10, cell="paper", rounds=2)
    assert wider.dynamics.width == 12
    assert wider([torch.ones(5, 8), torch.ones(5, 3)]).shape == (5, 10)


def test_the_layer_is_the_laws_fused_state() -> None:
    layer, inputs = bare(tol=1e-12), samples()
    flags = {"motion": torch.tensor([True, False, True, False, True])}
    fused, info = layer(inputs, present=flags, return_info=True)
    x = {
        "features": torch.stack([*inputs.values()], 1),
        "present": torch.stack([torch.ones(5, dtype=torch.bool), flags["motion"]], 1),
    }
    wanted = rest(layer.dynamics, x)
    torch.testing.assert_close(fused, wanted.final[:, -1], rtol=1e-10, atol=1e-10)
    assert info.succeeded.all()
    assert torch.equal(info.iterations, info.solution.work.rate_calls)
    assert not info.solution.final[1, 1].any()


def test_bare_keys_load_into_the_layer() -> None:
    law = paper(3, 2, 8)
    with_prefix = pf.fusion.DEQ(DIMS, 8, cell="paper")
    with_prefix.load_state_dict(law.state_dict())
    for name, value in with_prefix.dynamics.state_dict().items():
        assert torch.equal(value, law.state_dict()[name].float())
    again = pf.fusion.DEQ(DIMS, 8, cell="paper")
    again.load_state_dict(with_prefix.state_dict())
    nested = torch.nn.Sequential(pf.fusion.DEQ(DIMS, 8, cell="paper"))
    nested.load_state_dict({f"0.{name}": value for name, value in law.state_dict().items()})
    with pytest.raises(RuntimeError, match="Missing key"):
        pf.fusion.DEQ(DIMS, 12, cell="paper").load_state_dict(law.state_dict())


def test_rounds_are_the_unrolled_law() -> None:
    layer, inputs = bare(rounds=3), samples()
    fused, info = layer(inputs, return_info=True)
    x = torch.stack([*inputs.values()], 1)
    z = zeros(layer.dynamics, x)
    for _ in range(3):
        z = cell(layer.dynamics, z, x)
    torch.testing.assert_close(fused, z[:, -1], rtol=1e-12, atol=1e-12)
    assert info.iterations.tolist() == [3] * 5
    assert not info.losses
    assert info.succeeded.all()
    layer.dynamics.zero_grad()
    fused.sum().backward()
    grads = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    wanted = torch.autograd.grad(z[:, -1].sum(), [*layer.parameters()])
    for got, one in zip(grads, wanted, strict=True):
        torch.testing.assert_close(got, one, rtol=1e-10, atol=1e-12)


def test_samples_without_an_equilibrium_are_named() -> None:
    layer = bare(solver=Anderson(max_evaluations=2))
    with pytest.warns(ConvergenceWarning, match="5 of 5 samples did not reach") as caught:
        fused, info = layer(samples(), return_info=True)
    assert caught[0].filename == __file__
    assert not info.succeeded.any()
    assert fused.isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bare()(samples())


def test_the_penalty_estimates_the_jacobians_size() -> None:
    layer, inputs = bare(tol=1e-12), samples()
    torch.manual_seed(0)
    _, info = layer(inputs, return_info=True)
    assert set(info.losses) == {"jacobian"}
    run = info.solution
    dense = torch.stack(
        [jacobian(layer.dynamics, run.final[k].detach(), run.x[k]).square().sum() for k in range(5)]
    )
    wanted = float(dense.mean()) / (3 * 8)
    law = layer.dynamics
    generator = torch.Generator().manual_seed(1)
    many = jacobian_penalty(
        lambda z, _: cell(law, z, run.x) - z, run.final, probes=2000, generator=generator
    )
    assert float(many.detach()) == pytest.approx(wanted, rel=0.05)
    assert float(info.losses["jacobian"].detach()) == pytest.approx(wanted, rel=1.0)
    info.losses["jacobian"].backward()
    weight = law.fusion.gate.weight
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0
    assert not pf.fusion.DEQ(DIMS, 8)(inputs32(), return_info=True)[1].losses


def inputs32() -> dict[str, Tensor]:
    return {name: values.float() for name, values in samples().items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "free"}, '`cell` must be "contractive", "paper" or a DEQ law, got \'free\''),
        ({"cell": pf.DEQ(3, 8)}, "`cell` must be a law of 2 modalities"),
        ({"cell": pf.DEQ(2, 8), "width": 12}, r"of `width` where that is given \(12\)"),
        ({"cell": "paper", "width": 10}, r"multiple of 4, got 10; take width=12, .*groups=2\)"),
        ({"cell": "paper", "width": 0}, "`width` must be a whole number >= 1, got 0"),
        ({"rounds": 0}, "`rounds` must be a whole number >= 1 or None, got 0"),
        ({"jacobian_probes": -1}, "`jacobian_probes` must be a whole number >= 0 or None, got -1"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.fusion.DEQ(DIMS, 8, **options)  # type: ignore[arg-type]
