"""Deep equilibrium fusion: the layer around the laws, and its training."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.solvers import Anderson, ConvergenceWarning, jacobian_penalty
from tests.dynamics.deq_cells import cell, gaussian, jacobian, measured_contraction
from tests.dynamics.deq_laws import paper, rest, zeros

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
    for d, wanted in ((16, 16), (6, 32)):  # one width of all modalities, if the norms can take it
        common = pf.fusion.DEQ({"audio": d, "motion": d}, 8, cell="paper")
        assert common.dynamics.width == wanted
        own = isinstance(common.projections[0], torch.nn.Identity)
        assert own == (d == wanted)
    wider = pf.fusion.DEQ({"audio": 8, "motion": 3}, 10, cell="paper", rounds=2)
    assert wider.dynamics.width == 32
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
