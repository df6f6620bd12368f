"""Progressive fusion to its rest, and what is random in it."""

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.fusion import Concat
from pnpfusion.solvers import ConvergenceWarning
from tests.fusion.progressive_layers import LAYERS, WIDTH, Counted, Pair, features, ready
from tests.registry import f64

pytestmark = pytest.mark.usefixtures("seeded")


def contracting(lipschitz=0.5):
    """The ready form, its W_i scaled so that no derivative of a round exceeds ``lipschitz``."""
    layer = ready()
    law = layer.dynamics

    def norm(linear):
        return torch.linalg.matrix_norm(linear.weight.detach(), 2)

    parts = [norm(e.encoder[2]) * norm(e.columns) * norm(e.context) for e in law.encoders]
    whole = torch.stack(parts).norm() * norm(law.fuse[1]) * norm(law.fuse[3])
    with torch.no_grad():
        for encoder in law.encoders:
            encoder.context.weight.mul_(lipschitz / whole)
    return layer


def test_rounds_apply_one_map_and_close_in_on_its_rest_as_fast_as_it_contracts():
    layer, x = contracting(0.5), features()
    law = layer.dynamics

    def apply(z):
        return law.fuse(law.encode(z, x)).detach()

    rest = law.start(4)
    for _ in range(60):
        rest = apply(rest)
    assert (
        apply(apply(law.start(4))) - apply(law.start(4))
    ).abs().max() > 1e-4  # it does feed back
    z = law.start(4)
    for rounds in range(1, 8):
        z = apply(z)
        layer.rounds = rounds
        torch.testing.assert_close(layer(x), z, rtol=1e-12, atol=1e-14)
        gap = (layer(x).detach() - rest).norm(dim=1)
        assert (gap <= 0.5**rounds * rest.norm(dim=1)).all()


@pytest.mark.parametrize("solver", [None, pf.solvers.Picard(), pf.solvers.Broyden()])
def test_infinitely_many_rounds_are_the_equilibrium_with_its_gradient(solver):
    layer, x = contracting(0.5), features()
    x = {name: value.requires_grad_() for name, value in x.items()}
    layer.rounds, layer.solver, layer.tol = None, solver, 1e-12
    fused, info = layer(x, return_info=True)
    assert info.succeeded.all()
    assert (info.iterations > 2).all()
    assert ("Anderson" if solver is None else repr(solver)) in info.solution.choice
    leaves = [*x.values(), *layer.parameters()]
    found = torch.autograd.grad(fused.square().sum(), leaves)
    assert info.solution.backward.converged.all()
    layer.rounds = 45  # 0.5^45 = 3e-14
    limit = layer(x)
    torch.testing.assert_close(fused, limit, rtol=1e-10, atol=1e-11)
    wanted = torch.autograd.grad(limit.square().sum(), leaves)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_samples_without_a_rest_are_told_apart_from_the_others():
    """One round is z -> x + z, which rests where x = 0 only."""
    layer = pf.fusion.Progressive.around(
        {"a": nn.Linear(1, 1)}, Concat({"a": 1}, 1), width=1, at={"a": ""}, rounds=None, context=1
    )
    for name, weight in layer.named_parameters():
        nn.init.constant_(weight, float("bias" not in name))
    with pytest.warns(
        ConvergenceWarning, match="1 of 2 samples did not reach .*, make the context"
    ):
        fused, info = layer({"a": torch.tensor([[0.0], [1.0]])}, return_info=True)
    assert info.succeeded.tolist() == [True, False]
    assert fused.isfinite().all()


@pytest.mark.parametrize("make", LAYERS)
def test_the_gradient_of_an_equilibrium_may_be_chosen(make):
    """One phantom step is the derivative of the last round alone; many come near the exact one."""

    def gradients(**options):
        torch.manual_seed(0)
        layer, x = make(rounds=None, tol=1e-12, **options), features()
        for encoder in layer.dynamics.encoders:
            encoder.context.weight.data.mul_(0.3)
        fused, info = layer(x, return_info=True)
        weights = [*layer.parameters()]
        found = torch.autograd.grad(fused.square().sum(), weights, retain_graph=True)
        rest = info.solution.final.detach()
        again = rest + layer.dynamics.rate(torch.zeros(()), rest, x)
        last = torch.autograd.grad(again.square().sum(), weights)
        return found, last, info.solution.backward.way

    exact, last, way = gradients()
    assert "implicit" in way
    assert not all(torch.allclose(a, b) for a, b in zip(exact, last, strict=True))
    one, last, way = gradients(gradient=pf.solvers.Phantom(1))
    assert "Phantom" in way
    torch.testing.assert_close(one, last, rtol=1e-8, atol=1e-10)
    many, _, _ = gradients(gradient=pf.solvers.Phantom(40))
    torch.testing.assert_close(many, exact, rtol=1e-7, atol=1e-9)


def test_an_equilibrium_runs_what_comes_before_the_place_once():
    before = Counted()
    encoder = nn.Sequential(before, nn.Linear(3, 6), nn.Tanh())
    layer = pf.fusion.Progressive.around(
        {"a": encoder}, Concat({"a": 6}, WIDTH), width=WIDTH, at={"a": "1"}, rounds=None
    )
    with torch.no_grad():
        layer.dynamics.encoders[0].context.weight.mul_(0.3)
    x = {"a": torch.randn(2, 3)}
    fused, info = layer(x, return_info=True)
    assert before.calls == 1
    assert info.succeeded.all()
    rest = pf.equilibrium(layer.dynamics, layer.dynamics.start(2), x=x)
    assert before.calls == 2
    torch.testing.assert_close(rest.final, fused)


@pytest.mark.parametrize(
    ("inside", "training", "wanted"),
    [
        (nn.Identity(), True, False),
        (nn.Dropout(0.1), True, True),
        (nn.Dropout(0.0), True, False),
        (nn.AlphaDropout(0.1), False, False),
        (pf.fusion.GaussianChannel(0.1), False, True),
        (nn.TransformerEncoderLayer(6, 1, 6, dropout=0.1, batch_first=True), True, True),
        (nn.MultiheadAttention(6, 1, dropout=0.1), True, True),
        (nn.RReLU(), True, True),
        (nn.RReLU(), False, False),
        (nn.RReLU(0.2, 0.2), True, False),
    ],
)
def test_a_law_knows_whether_it_draws_random_numbers(inside, training, wanted):
    encoder = nn.Sequential(nn.Linear(3, 6), nn.ModuleDict({"inside": inside}))
    law = pf.Progressive({"a": encoder}, Pair(WIDTH), width=WIDTH, at={"a": "0"})
    assert law.train(training).random is wanted


def noisy(entry):
    """A layer that hears nothing, with noise as the given entry of its encoder."""
    encoder = nn.Sequential(nn.Identity(), nn.Linear(3, 6), nn.Tanh())
    encoder[entry] = pf.fusion.GaussianChannel(1.0)
    layer = pf.fusion.Progressive.around(
        {"a": encoder}, Concat({"a": 6}, WIDTH), width=WIDTH, at={"a": "1"}
    )
    nn.init.zeros_(layer.dynamics.encoders[0].context.weight)
    return layer.eval()


@pytest.mark.parametrize(("entry", "anew"), [(0, False), (2, True)])
def test_noise_is_drawn_anew_in_every_round_unless_it_comes_before_the_place(entry, anew):
    _, info = noisy(entry)({"a": torch.randn(2, 3)}, return_info=True)
    first, second = info.solution.states[1:]
    assert torch.allclose(first, second) is not anew


@pytest.mark.parametrize("entry", [0, 2])
def test_noise_is_drawn_once_for_an_equilibrium(entry):
    layer, x = noisy(entry), {"a": torch.randn(2, 3)}
    nn.init.normal_(layer.dynamics.encoders[0].context.weight, std=0.1)
    layer.rounds = None
    fused, info = layer(x, return_info=True)
    assert info.succeeded.all()
    assert not torch.allclose(layer(x), fused)


def test_a_gaussian_channel_adds_noise_of_its_deviation():
    channel = pf.fusion.GaussianChannel(0.25).eval()
    h = torch.linspace(-1, 1, 20000, dtype=f64)
    noise = channel(h) - h
    assert abs(float(noise.mean())) < 4 * 0.25 / 20000**0.5
    assert float(noise.std()) == pytest.approx(0.25, rel=4 / 40000**0.5)
    assert not torch.equal(channel(h) - h, noise)
    with pytest.raises(ValueError, match="`sigma` must be >= 0, got -1"):
        pf.fusion.GaussianChannel(-1)
