"""Progressive fusion around encoders of one's own, and what does not fit them."""

import copy

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.fusion import Concat, Place
from tests.fusion.progressive_layers import (
    DIMS,
    WIDTH,
    Pair,
    base_model,
    features,
    mlp,
    ready,
    smooth,
)
from tests.registry import f64

pytestmark = pytest.mark.usefixtures("seeded")


class Sequence(nn.Module):
    """The last state of a GRU over projected steps (batch, time, d)."""

    def __init__(self, d=4):
        super().__init__()
        self.body = nn.ModuleDict(
            {"project": nn.Linear(d, 7), "gru": nn.GRU(7, 6, batch_first=True)}
        )

    def forward(self, x):
        return self.body["gru"](self.body["project"](x))[0][:, -1]


def conv():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(2, 3, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(3 * 3 * 3, 6),
    )


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


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_the_dtype_is_that_of_the_encoders(dtype):
    encoder = mlp(3).to(dtype)
    layer = pf.fusion.Progressive.around(
        {"a": encoder}, Concat({"a": 6}, WIDTH).to(dtype), width=WIDTH, at={"a": "0"}
    )
    fused, info = layer({"a": torch.randn(2, 3, dtype=dtype)}, return_info=True)
    assert fused.dtype == info.solution.states.dtype == dtype


def law(encoder=None, *, fuse=None, at="0", **options):
    given = {"width": WIDTH, "at": {"a": at}} | options
    return pf.Progressive({"a": encoder or mlp(3)}, fuse or Concat({"a": 6}, WIDTH), **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: law(at="7"), r"names no module of that encoder, got '7'; it has \['', '0', '1'"),
        (lambda: law(at="1"), r"is a Tanh, which does not tell .*; say it: Place\('1', width="),
        (lambda: law(at=Place("0", 0)), "`width` must be a whole number >= 1 or None, got 0"),
        (lambda: law(at=Place("0", "3")), "`width` must be .* >= 1 or None, got '3'"),
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
