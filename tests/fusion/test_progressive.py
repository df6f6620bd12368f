"""Progressive fusion, round by round."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import pnpfusion as pf
from tests.fusion.progressive_layers import (
    DIMS,
    LAYERS,
    WIDTH,
    Counted,
    Pair,
    base_model,
    features,
    mlp,
    ready,
    smooth,
)
from tests.registry import f64

pytestmark = pytest.mark.usefixtures("seeded")


def feedback(layer):
    """The weights W_i and C_i."""
    return [
        weight
        for name, weight in layer.named_parameters()
        if name.endswith(("context.weight", "columns.weight"))
    ]


@pytest.mark.parametrize("make", LAYERS)
def test_one_round_is_late_fusion(make):
    layer, x = make(rounds=1), features()
    assert torch.equal(layer(x), base_model(layer, x))


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("silent", ["context", "columns"])
def test_without_context_the_rounds_change_nothing(make, silent):
    layer, x = make(), features()
    for name, weight in layer.named_parameters():
        if name.endswith(f"{silent}.weight"):
            nn.init.zeros_(weight)
    for layer.rounds in (1, 2, 4):
        torch.testing.assert_close(layer(x), base_model(layer, x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("make", LAYERS)
def test_context_weights_learn_from_the_second_round_on(make):
    layer, x = make(), features()
    for layer.rounds in (1, 2, 3):
        gradients = torch.autograd.grad(layer(x).square().sum(), feedback(layer))
        assert len(gradients) == 6
        for gradient in gradients:
            assert bool(gradient.any()) == (layer.rounds > 1)


def test_parameters_are_those_of_the_formula_for_any_rounds():
    base = sum(d * 8 + 8 + 8 * 6 + 6 for d in DIMS.values()) + 18 * 8 + 8 + 8 * WIDTH + WIDTH
    wanted = base + 3 * (3 * WIDTH + 3 * 8)
    for rounds in (1, 2, 4, None):
        assert sum(weight.numel() for weight in ready(rounds=rounds).parameters()) == wanted


def test_a_context_may_have_its_own_width():
    encoders = {name: mlp(d) for name, d in DIMS.items()}
    sizes = {"a": 1, "b": 2, "c": 4}
    law = pf.Progressive(
        encoders, Pair(WIDTH), width=WIDTH, at=dict.fromkeys(DIMS, "2"), context=sizes
    )
    assert [e.context.out_features for e in law.encoders] == [1, 2, 4]
    assert [e.columns.out_features for e in law.encoders] == [6, 6, 6]


@pytest.mark.parametrize("rounds", [1, 2, 4])
@pytest.mark.parametrize("inside", [False, True])
def test_what_comes_before_the_place_is_done_once(rounds, inside):
    """By the layer and by the verb; without top-level entries the encoder is called as a whole."""
    before, after, fuse = Counted(), Counted(), Pair(WIDTH)
    encoder = nn.Sequential(nn.Linear(3, 8), before, nn.Linear(8, 8), nn.Tanh(), after)
    encoder = nn.Sequential(encoder, nn.Linear(8, 6)) if inside else encoder.append(nn.Linear(8, 6))
    other = mlp(4)
    layer = pf.fusion.Progressive.around(
        {"a": encoder, "b": other},
        fuse,
        width=WIDTH,
        at={"a": "0.2" if inside else "2", "b": "0"},
        rounds=rounds,
    )
    x = {"a": torch.randn(2, 3), "b": torch.randn(2, 4)}
    layer(x)
    assert (before.calls, after.calls, fuse.calls) == (rounds if inside else 1, rounds, rounds)
    run = pf.unroll(layer.dynamics, layer.dynamics.start(2), rounds, x=x)
    assert (before.calls, after.calls, fuse.calls) == (
        2 * rounds if inside else 2,
        2 * rounds,
        2 * rounds,
    )
    assert torch.equal(run.final, layer(x))


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_gradients_pass_finite_differences(make, rounds):
    layer = make(rounds=rounds)
    names, weights = zip(*layer.named_parameters(), strict=True)
    x = features(2)

    def output(*values):
        given = dict(zip(x, values[: len(x)], strict=True))
        return functional_call(layer, dict(zip(names, values[len(x) :], strict=True)), (given,))

    points = [value.detach().requires_grad_() for value in (*x.values(), *weights)]
    assert torch.autograd.gradcheck(output, points, fast_mode=True)


@pytest.mark.parametrize("make", LAYERS)
def test_detach_cuts_gradients_and_nothing_else(make):
    layer, x = make(rounds=3), features()
    whole = layer(x)
    slope = torch.autograd.grad(whole.square().sum(), [*layer.parameters()])
    layer.dynamics.detach = True
    cut, info = layer(x, return_info=True)
    assert torch.equal(cut, whole)
    found = torch.autograd.grad(cut.square().sum(), [*layer.parameters()])
    last = info.solution.states[2].detach()
    alone = last + layer.dynamics.rate(torch.zeros(()), last, x)  # the last pass by itself
    wanted = torch.autograd.grad(alone.square().sum(), [*layer.parameters()])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
    assert not all(torch.allclose(a, b) for a, b in zip(found, slope, strict=True))


@pytest.mark.parametrize("make", LAYERS)
def test_a_sample_does_not_know_its_batch_mates(make):
    layer, x = make(rounds=3), features()
    alone = torch.cat([layer({n: v[i : i + 1] for n, v in x.items()}) for i in range(4)])
    torch.testing.assert_close(layer(x), alone, rtol=1e-12, atol=1e-14)


def test_a_linear_place_hears_as_if_the_context_were_concatenated():
    layer, x = ready(), features()
    law = layer.dynamics
    z = torch.randn(4, WIDTH, dtype=f64)
    for name, encoder, encoding in zip(DIMS, law.encoders, law.encode(z, x), strict=True):
        first, *rest = encoder.encoder
        columns = torch.cat([first.weight, encoder.columns.weight], 1)
        joined = torch.cat([x[name], z @ encoder.context.weight.T], 1)
        wanted = nn.Sequential(*rest)(joined @ columns.T + first.bias)
        torch.testing.assert_close(encoding, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", LAYERS)
def test_other_modalities_arrive_with_the_second_round(make):
    layer, x = make(), features(1)
    law = layer.dynamics
    for mine in DIMS:
        for other in DIMS:
            source = {n: v.clone().requires_grad_(n == other) for n, v in x.items()}
            z = law.start(1)
            z = z + law.rate(z, z, source)
            for heard, hears in ((law.start(1), mine == other), (z, True)):
                encoding = law.encode(heard, source)[[*DIMS].index(mine)]
                slope = (
                    torch.autograd.grad(
                        encoding.sum(), source[other], allow_unused=True, retain_graph=True
                    )[0]
                    if encoding.requires_grad
                    else None
                )
                assert (slope is not None and bool(slope.any())) == hears


def test_the_states_are_those_of_all_rounds():
    layer, x = smooth(rounds=3), features()
    fused, info = layer(x, return_info=True)
    assert info.solution.states.shape == (4, 4, WIDTH)
    assert info.iterations.tolist() == [3] * 4
    assert info.succeeded.all()
    assert not info.solution.states[0].any()
    for layer.rounds in (1, 2, 3):
        torch.testing.assert_close(info.solution.states[layer.rounds], layer(x))
    assert torch.equal(info.solution.final, fused)


def test_a_missing_modality_is_zero_and_hears_the_context():
    layer, x = smooth(shapes={"b": (4,)}), features()
    zero = layer(x | {"b": torch.zeros(4, 4, dtype=f64)})
    assert torch.equal(layer(x | {"b": None}), zero)
    flags = torch.tensor([True, False, True, False])
    hidden = torch.where(flags[:, None], x["b"], torch.nan)
    some = layer(x | {"b": hidden}, present={"b": flags})
    torch.testing.assert_close(some, torch.where(flags[:, None], layer(x), zero))
    fused = layer(x | {"b": None})
    law = layer.dynamics
    assert torch.autograd.grad(fused.sum(), law.encoders[1].context.weight)[0].any()


def test_the_ready_form_takes_tokens_and_lists():
    layer, x = ready(), features()
    tokens = {name: value[:, None].expand(-1, 2, -1) for name, value in x.items()}
    assert layer(tokens).shape == (4, 2, WIDTH)
    torch.testing.assert_close(layer(tokens)[:, 1], layer(x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(layer([*x.values()]), layer(x))


def test_the_law_takes_any_batch_axes():
    law, x = ready().dynamics, features(6)
    z = torch.randn(6, WIDTH, dtype=f64)
    flat = pf.unroll(law, z, 2, x=x).final
    split = {name: value.reshape(2, 3, -1) for name, value in x.items()}
    folded = pf.unroll(law, z.reshape(2, 3, -1), 2, x=split).final
    torch.testing.assert_close(folded.reshape(6, -1), flat, rtol=1e-12, atol=1e-14)
    single = pf.unroll(law, z[0], 2, x={name: value[0] for name, value in x.items()}).final
    torch.testing.assert_close(single, flat[0], rtol=1e-12, atol=1e-14)


def test_rounds_are_steps_of_size_one_through_time():
    law, x = ready().dynamics, features()
    steps = pf.simulate(
        law,
        law.start(4),
        torch.arange(4, dtype=f64),
        x=x,
        stepper=pf.solvers.Euler(dt=1.0),
    )
    run = pf.unroll(law, law.start(4), 3, x=x)
    torch.testing.assert_close(steps.states, run.states, rtol=1e-12, atol=1e-14)
