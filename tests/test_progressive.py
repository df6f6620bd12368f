import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import pnpfusion as pf
from pnpfusion.fusion import Concat, Place
from pnpfusion.solvers import ConvergenceWarning
from tests.registry import f64

DIMS, WIDTH = {"a": 3, "b": 4, "c": 2}, 5


class Counted(nn.Module):
    """The identity, counting its calls."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


class Pair(nn.Module):
    """Any fusion of a list: a bilinear form of the first two, and the sum of all, squashed."""

    def __init__(self, width):
        super().__init__()
        self.product, self.calls = nn.Bilinear(6, 6, width), 0

    def forward(self, encodings):
        self.calls += 1
        return torch.tanh(self.product(encodings[0], sum(encodings)))


class Sequence(nn.Module):
    """The last state of a GRU over projected steps (batch, time, d)."""

    def __init__(self, d=4):
        super().__init__()
        self.body = nn.ModuleDict(
            {"project": nn.Linear(d, 7), "gru": nn.GRU(7, 6, batch_first=True)}
        )

    def forward(self, x):
        return self.body["gru"](self.body["project"](x))[0][:, -1]


def mlp(d, hidden=8, out=6):
    return nn.Sequential(nn.Linear(d, hidden), nn.Tanh(), nn.Linear(hidden, out))


def conv():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(2, 3, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(3 * 3 * 3, 6),
    )


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def features(samples=4, dims=DIMS):
    return {name: torch.randn(samples, d, dtype=f64) for name, d in dims.items()}


def ready(**options):
    return pf.fusion.Progressive(DIMS, WIDTH, hidden=8, bottleneck=6, context=3, **options).double()


def smooth(rounds=2, **options):
    encoders = {name: mlp(d) for name, d in DIMS.items()}
    at = dict.fromkeys(DIMS, "0")
    return pf.fusion.Progressive.around(
        encoders, Pair(WIDTH), width=WIDTH, at=at, rounds=rounds, context=3, **options
    ).double()


def feedback(layer):
    """The weights W_i and C_i."""
    return [
        weight
        for name, weight in layer.named_parameters()
        if name.endswith(("context.weight", "columns.weight"))
    ]


def base_model(layer, x):
    """Late fusion with the layer's own weights."""
    law = layer.dynamics
    return law.fuse([e.encoder(x[n]) for n, e in zip(law.modalities, law.encoders, strict=True)])


LAYERS = [ready, smooth]


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


def wrapped(rounds=2):
    """Pictures, sequences and words in one model; every kind of place."""
    words = nn.Sequential(
        nn.Embedding(9, 5),
        nn.TransformerEncoderLayer(5, 1, 6, dropout=0.0, batch_first=True),
        nn.Flatten(),
        nn.Linear(15, 6),
    )
    return pf.fusion.Progressive.around(
        {"picture": conv(), "sound": Sequence(), "words": words},
        Concat({"picture": 6, "sound": 6, "words": 6}, WIDTH),
        width=WIDTH,
        at={"picture": "2", "sound": "body.project", "words": "1.linear1"},
        rounds=rounds,
        context={"picture": 3, "sound": 4, "words": 5},
    ).double()


def media(samples=3):
    return {
        "picture": torch.randn(samples, 1, 5, 5, dtype=f64),
        "sound": torch.randn(samples, 11, 4, dtype=f64),
        "words": torch.randint(9, (samples, 3)),
    }


def test_encoders_of_any_kind_hear_over_space_time_and_tokens():
    layer, x = wrapped(), media()
    fused, info = layer(x, return_info=True)
    z = base_model(layer, x)
    torch.testing.assert_close(info.solution.states[1], z, rtol=1e-12, atol=1e-12)
    picture, sound, words = layer.dynamics.encoders
    extra = [e.columns(e.context(z)) for e in layer.dynamics.encoders]
    v = picture.encoder[:3](x["picture"]) + extra[0][:, :, None, None]
    encodings = [picture.encoder[3:](v)]
    v = sound.encoder.body["project"](x["sound"]) + extra[1][:, None]
    encodings.append(sound.encoder.body["gru"](v)[0][:, -1])
    block, v = words.encoder[1], words.encoder[0](x["words"])
    v = block.norm1(v + block.self_attn(v, v, v)[0])
    v = block.norm2(v + block.linear2((block.linear1(v) + extra[2][:, None]).relu()))
    encodings.append(words.encoder[2:](v))
    torch.testing.assert_close(fused, layer.dynamics.fuse(encodings), rtol=1e-12, atol=1e-12)


def test_no_hook_and_no_state_stay_on_the_encoder():
    layer, x = wrapped(), media()
    layer(x)
    with pytest.raises(RuntimeError):
        layer(x | {"sound": torch.randn(3, 11, 2, dtype=f64)})
    assert not any(module._forward_hooks for module in layer.modules())
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(x), layer(x))
    twin.dynamics.encoders[1].context.weight.data.zero_()
    assert not torch.equal(twin(x), layer(x))
    other = wrapped()
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))


def test_a_module_used_twice_hears_twice():
    shared = nn.Linear(4, 4).double()
    encoder = nn.Sequential(shared, nn.Tanh(), shared)
    law = pf.Progressive({"a": encoder}, Concat({"a": 4}, 4).double(), width=4, at={"a": "0"})
    x, z = torch.randn(2, 4, dtype=f64), torch.randn(2, 4, dtype=f64)
    extra = law.encoders[0].columns(law.encoders[0].context(z))
    wanted = shared((shared(x) + extra).tanh()) + extra
    torch.testing.assert_close(law.encode(z, {"a": x})[0], wanted)


def test_other_layers_may_fuse():
    encoders = {"a": mlp(3), "b": mlp(4)}
    fuse = pf.fusion.Progressive({"a": 6, "b": 6}, WIDTH, rounds=1)
    layer = pf.fusion.Progressive.around(
        encoders, fuse, width=WIDTH, at={"a": "0", "b": "0"}, rounds=3
    )
    assert layer({"a": torch.randn(2, 3), "b": torch.randn(2, 4)}).shape == (2, WIDTH)


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


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_the_dtype_is_that_of_the_encoders(dtype):
    encoder = mlp(3).to(dtype)
    layer = pf.fusion.Progressive.around(
        {"a": encoder}, Concat({"a": 6}, WIDTH).to(dtype), width=WIDTH, at={"a": "0"}
    )
    fused, info = layer({"a": torch.randn(2, 3, dtype=dtype)}, return_info=True)
    assert fused.dtype == info.solution.states.dtype == dtype


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


def law(encoder=None, *, fuse=None, at="0", **options):
    given = {"width": WIDTH, "at": {"a": at}} | options
    return pf.Progressive({"a": encoder or mlp(3)}, fuse or Concat({"a": 6}, WIDTH), **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: law(at="7"), r"names no module of that encoder, got '7'; it has \['', '0', '1'"),
        (lambda: law(at="1"), r"is a Tanh, which does not tell .*; say it: Place\('1', width="),
        (lambda: law(at=Place("0", 0)), "`width` of a place must be a whole number >= 1, got 0"),
        (lambda: law(at=Place("0", "3")), "`width` of a place must be .* >= 1, got '3'"),
        (lambda: law(at=Place("0", 8, 0)), "`axis` of a place must not be 0"),
        (lambda: law(at=Place("0", 8, 1.0)), "`axis` of a place must be a whole number, got 1.0"),
        (lambda: law(width=0), "`width` must be a whole number >= 1, got 0"),
        (lambda: law(context=0), r"`context\['a'\]` must be a whole number >= 1, got 0"),
        (lambda: law(context={"b": 3}), r"`context` must name the modalities \['a'\], got \['b'\]"),
        (lambda: pf.Progressive({}, Pair(1), width=1, at={}), "`encoders` must map modalities"),
        (lambda: pf.Progressive([mlp(3)], Pair(1), width=1, at={}), "to modules, got list"),
        (lambda: ready(rounds=0), "`rounds` must be a whole number >= 1 or None, got 0"),
        (lambda: ready(rounds=1.5), "`rounds` must be a whole number >= 1 or None, got 1.5"),
        (
            lambda: pf.fusion.Progressive(DIMS, WIDTH, bottleneck=0),
            "`bottleneck` must be a whole number >= 1, got 0",
        ),
        (lambda: smooth(shapes={"d": (3,)}), r"`shapes` has unknown modalities \['d'\]"),
    ],
)
def test_what_does_not_fit_together_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Forgetful(nn.Module):
    """Has a module that it does not call."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 6), nn.Linear(3, 6)

    def forward(self, x):
        return self.used(x)


class Listed(nn.Module):
    """Fuses nothing."""

    def forward(self, encodings):
        return encodings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (law(Forgetful(), at="unused"), "did not call its module 'unused'"),
        (law(Sequence(3), at=Place("body.gru", 6)), "'body.gru' must give a tensor, got tuple"),
        (law(at=Place("1", 5)), r"'1' must give 2 samples of width 5 along axis -1, got \(2, 8\)"),
        (law(at=Place("1", 8, 2)), r"samples of width 8 along axis 2, got \(2, 8\)"),
        (
            law(fuse=Concat({"a": 6}, 4)),
            r"`fuse` must give \(batch, width\) = \(2, 5\), got \(2, 4",
        ),
        (law(fuse=Listed()), "`fuse` must give .*, got list"),
    ],
)
def test_what_does_not_fit_in_a_run_is_refused(given, message):
    x = {"a": torch.randn(2, 5, 3) if "gru" in message else torch.randn(2, 3)}
    with pytest.raises(ValueError, match=message):
        pf.unroll(given, given.start(2), 1, x=x)


@pytest.mark.parametrize(
    ("width", "x", "message"),
    [
        (4, {"a": torch.ones(2, 3)}, r"`u0` must end in \(5,\), got \(2, 4\)"),
        (5, {"a": torch.ones(3, 3)}, r"`x\['a'\]` must begin with the batch \(2,\) of `u0`, got"),
        (5, {"b": torch.ones(2, 3)}, r"to a tensor, lacks 'a', got \['b'\]"),
        (5, None, "to a tensor, lacks 'a', got NoneType"),
        (
            5,
            {"a": torch.ones(2, 3), "b": torch.ones(2, 3)},
            r"`x` has unknown modalities \['b'\]; known are \['a'\]",
        ),
        (
            5,
            {"a": torch.ones(2, 3, dtype=f64)},
            r"`x\['a'\]` must be as the law's parameters, torch.float32 .*float64 on cpu; move",
        ),
    ],
)
def test_a_wrong_state_or_input_is_named(width, x, message):
    with pytest.raises(ValueError, match=message):
        pf.unroll(law(), torch.zeros(2, width), 1, x=x)


def test_a_state_of_another_dtype_is_an_error_in_words():
    x = {"a": torch.ones(2, 3)}
    message = r"`u0` must be as the law's .*; move .* by \.to\(torch.float32"
    with pytest.raises(ValueError, match=message):
        pf.unroll(law(), torch.zeros(2, WIDTH, dtype=f64), 1, x=x)


@pytest.mark.parametrize(
    ("inputs", "present", "message"),
    [
        ({"a": [1.0]}, None, r"`inputs\['a'\]` must be a torch.Tensor or None, got list"),
        ({"a": torch.ones(())}, None, r"must be \(batch, ...\), got \(\)"),
        ({"b": torch.ones(2, 5)}, None, r"must be \(batch, \(4,\)\), got \(2, 5\)"),
        ({"b": torch.ones(3, 4)}, None, r"equal batch axes, got \(2,\) for 'a' and \(3,\) for 'b'"),
        ({"a": torch.full((2, 3), torch.nan)}, None, "must be finite, got NaN or .* in row 0"),
        ({"a": None}, None, r"`inputs\['a'\]` is None, but the shape of its samples is not known"),
        ({}, {n: torch.tensor([True, False]) for n in DIMS}, "every sample needs a modality"),
    ],
)
def test_wrong_inputs_of_wrapped_encoders_are_named(inputs, present, message):
    layer = smooth(shapes={"b": (4,)})
    with pytest.raises(ValueError, match=message):
        layer(features(2) | inputs, present=present)


def test_an_input_without_any_modality_is_refused():
    with pytest.raises(ValueError, match="lacks every modality"):
        smooth()(dict.fromkeys(DIMS))
