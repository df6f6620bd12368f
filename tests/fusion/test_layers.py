"""What holds for every fusion layer; a new one is one line in the registry."""

from __future__ import annotations

import copy
import io

import pytest
import torch

import pnpfusion as pf
from tests.fusion.every_layer import (
    DIMS,
    OUT,
    every_layer,
    features,
    gradients,
    made,
    make,
    rows,
    same,
)
from tests.registry import ALL_LAYERS


@every_layer
def test_a_list_is_a_dict_in_order(name: str) -> None:
    given = features(3)
    wanted = made(name)(given)
    assert wanted.shape == (3, OUT)
    assert torch.equal(made(name)([*given.values()]), wanted)
    backwards = dict(reversed(given.items()))
    assert torch.equal(made(name)(backwards), wanted)


@every_layer
def test_tokens_are_rows(name: str) -> None:
    given = features(2, 3)
    together, info = made(name)(given, return_info=True)
    assert together.shape == (2, 3, OUT)
    assert info.succeeded.shape == info.iterations.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            same(together[i, j], made(name)(rows(given, (i, [j])))[0])


@every_layer
def test_a_sample_does_not_depend_on_its_batch_mates(name: str) -> None:
    given = features(4)
    given["audio"][1] *= 20
    flags = {"motion": torch.tensor([True, True, False, True])}
    together = made(name)(given, present=flags)
    for i in range(4):
        flag = {"motion": flags["motion"][i : i + 1]}
        same(together[i], made(name)(rows(given, slice(i, i + 1)), present=flag)[0])
    order = torch.tensor([2, 0, 3, 1])
    same(
        made(name)(rows(given, order), present={"motion": flags["motion"][order]}), together[order]
    )


@every_layer
@pytest.mark.parametrize("missing", DIMS)
def test_a_flag_is_none_for_that_sample(name: str, missing: str) -> None:
    given = features(3)
    flags = {missing: torch.tensor([True, False, True])}
    found = made(name)(given, present=flags)
    same(found[1], made(name)(given | {missing: None})[1])
    same(found[::2], made(name)(given)[::2])
    nobody, everybody = torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    same(made(name)(given, present={missing: nobody}), made(name)(given | {missing: None}))
    same(made(name)(given, present={missing: everybody}), made(name)(given))


@every_layer
def test_flags_hold_for_all_tokens_of_a_sample(name: str) -> None:
    given, flags = features(2, 3), {"video": torch.tensor([False, True])}
    found = made(name)(given, present=flags)
    same(found[0], made(name)(rows(given, slice(0, 1)) | {"video": None})[0])
    same(found[1], made(name)(rows(given, slice(1, 2)))[0])


@every_layer
def test_one_modality_suffices(name: str) -> None:
    given = features(2)
    alone = {k: given[k] if k == "motion" else None for k in DIMS}
    found, info = made(name)(alone, return_info=True)
    assert found.isfinite().all()
    assert info.succeeded.all()
    assert not torch.equal(found, made(name)(given))


@every_layer
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e6])
def test_absent_values_have_no_influence(name: str, value: float) -> None:
    flags = {"audio": torch.tensor([True, False, True])}
    wanted, layer = make(name), make(name)
    given, other = features(3), features(3)
    other["audio"][1] = value
    for one, x in ((wanted, given), (layer, other)):
        x["audio"].requires_grad_()
        one(x, present=flags).square().sum().backward()
    assert torch.equal(layer(other, present=flags), wanted(given, present=flags))
    torch.testing.assert_close(gradients(layer), gradients(wanted), rtol=0, atol=0)
    assert torch.equal(other["audio"].grad, given["audio"].grad)
    assert not other["audio"].grad[1].any()


X = features(3)
NOBODY, SOME = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, True])
ERRORS = {
    "all None": (dict.fromkeys(DIMS), None, "`inputs` lacks every modality"),
    "a sample without any": (X, dict.fromkeys(DIMS, SOME), "1 rows without any.* row 1; drop them"),
    "nobody there": (X, dict.fromkeys(DIMS, NOBODY), "3 rows without any.* row 0"),
    "width": (X | {"audio": X["motion"]}, None, r"`inputs\['audio'\]` must be \(batch, 5\)"),
    "axes": (X | {"audio": X["audio"][0]}, None, r"\(batch, tokens, 5\), got \(5,\)"),
    "unknown": (X | {"smell": X["audio"]}, None, r"unknown modalities \['smell'\]; known are"),
    "not named": ({"audio": X["audio"]}, None, r"lacks \['motion', 'video'\]; give None"),
    "too few": ([*X.values()][:2], None, "one entry for each of .* got 2 entries"),
    "one tensor": (X["audio"], None, "a dict or a list of tensors, .* got one tensor of shape"),
    "nothing": (None, None, "a dict or a list of tensors, .* got NoneType"),
    "a generator": ((x for x in X), None, "a dict or a list of tensors, .* got generator"),
    "no tensor": (X | {"audio": [1.0]}, None, "must be a torch.Tensor or None, got list"),
    "no batch": (rows(X, slice(0, 0)), None, r"at least one sample, got batch axes \(0,\)"),
    "batches differ": (X | {"video": X["video"][:2]}, None, "equal batch axes, .* for 'video'"),
    "NaN": (
        X | {"motion": X["motion"] / 0 * 0},
        None,
        r"finite, got NaN or infinity in row 0; imp",
    ),
    "dtypes": (X | {"motion": X["motion"].float()}, None, "one dtype, got .*float32 for 'motion'"),
    "integers": (
        X | {"motion": X["motion"].long()},
        None,
        r"floating dtype, .*int64; e.g. .float\(",
    ),
    "flag's name": (X, {"smell": SOME}, r"`present` has unknown modalities \['smell'\]; known are"),
    "flag's dtype": (
        X,
        {"audio": SOME.long()},
        r"must be a bool tensor of shape \(3,\), got torch.int64",
    ),
    "flag's shape": (
        X,
        {"audio": SOME[:2]},
        r"must be a bool tensor of shape \(3,\), got .*\(2,\)",
    ),
    "flags as a tensor": (X, SOME, r"`present` must map .* \{'audio': flags\}, got one tensor"),
    "flags as a list": (X, [SOME], "`present` must map modalities to flags, .* got list"),
    "none there": (X | {"audio": None}, {"audio": SOME}, "some are there; the input is None"),
}


@every_layer
@pytest.mark.parametrize("case", ERRORS)
def test_wrong_inputs_are_refused(name: str, case: str) -> None:
    inputs, present, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as told:
        made(name)(inputs, present=present)
    assert str(told.value).count("docs/faq.md") <= 1


@every_layer
@pytest.mark.parametrize(
    ("dims", "out_dim", "message"),
    [
        ({}, 2, "`dims` must map modalities to widths"),
        ([3, 4], 2, "`dims` must map modalities to widths"),
        ({"a": 3, "b": 0}, 2, r"`dims\['b'\]` must be a whole number >= 1, got 0"),
        ({"a": 3, "b": 2.0}, 2, r"`dims\['b'\]` must be a whole number >= 1, got 2.0"),
        ({"a": 3, "b": 2}, 0, "`out_dim` must be a whole number >= 1, got 0"),
    ],
)
def test_wrong_widths_are_refused(name: str, dims: object, out_dim: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ALL_LAYERS[name](dims, out_dim)  # type: ignore[arg-type]


@every_layer
def test_info_tells_what_it_says(name: str) -> None:
    layer, given = make(name), features(3)
    fused, info = layer(given, return_info=True)
    same(fused, layer(given))
    assert info.succeeded.tolist() == [True] * 3
    assert info.succeeded.dtype == torch.bool
    assert info.iterations.shape == (3,)
    assert not info.iterations.is_floating_point()
    for loss in info.losses.values():
        assert loss.shape == ()
        assert loss.isfinite()
        assert loss.requires_grad
    assert (info.solution is None) == (layer.dynamics is None)
    assert layer.dynamics is None or isinstance(layer.dynamics, pf.Dynamics)


@every_layer
def test_repr_says_what_it_is(name: str) -> None:
    layer = made(name)
    first = repr(layer).splitlines()[0]
    assert first.startswith(f"{type(layer).__name__}(")
    assert f"dims={DIMS}, out_dim={OUT}" in repr(layer)


@every_layer
def test_a_state_dict_is_the_whole_state(name: str) -> None:
    layer, other, given = make(name), make(name, seed=1), features(3)
    assert not torch.equal(other(given), layer(given))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(given), layer(given))


@every_layer
def test_a_deep_copy_is_independent(name: str) -> None:
    layer, given = make(name), features(3)
    wanted = layer(given)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(given), wanted)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert not torch.equal(twin(given), wanted)
    assert torch.equal(layer(given), wanted)
