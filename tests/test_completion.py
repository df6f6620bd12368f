"""What is missing is told from what is there."""

import pytest
import torch

import pnpfusion as pf

DIMS = {"a": 3, "b": 2, "c": 4}


def completion(seed: int = 0) -> pf.fusion.Completion:
    torch.manual_seed(seed)
    return pf.fusion.Completion(pf.fusion.Concat(DIMS, 5), hidden=16).double()


def samples(rows: int = 6) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(rows, width, dtype=torch.float64) for name, width in DIMS.items()}


def test_what_lacks_nothing_is_fused_as_by_the_layer_itself() -> None:
    layer, inputs = completion(), samples()
    wanted = layer.layer(inputs)
    assert torch.equal(layer(inputs), wanted)
    fused, info = layer(inputs, return_info=True)
    assert torch.equal(fused, wanted)
    assert [*info.losses] == ["completion"]


def test_the_loss_reaches_the_maps_alone() -> None:
    layer = completion()
    inputs = {name: values.requires_grad_() for name, values in samples().items()}
    _, info = layer(inputs, return_info=True)
    info.losses["completion"].backward()
    assert all(values.grad is None for values in inputs.values())
    assert all(weight.grad is None for weight in layer.layer.parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in layer.maps.parameters())


def test_an_absent_modality_is_what_its_map_tells_of_the_others() -> None:
    layer, inputs = completion(), samples()
    flags = torch.tensor([True, False, True, True, False, True])
    heard = [
        torch.cat([inputs[name], torch.ones(6, 1, dtype=torch.float64)], 1) for name in ("a", "c")
    ]
    told = layer.maps[1](torch.cat(heard, 1))
    whole = {**inputs, "b": torch.where(flags[:, None], inputs["b"], told)}
    found, info = layer(inputs, present={"b": flags}, return_info=True)
    torch.testing.assert_close(found, layer.layer(whole))
    a, b, c = (  # each over the samples that have it, those of b told by what is there
        (guess - inputs[name]).square().mean(1)
        for name, guess in zip(DIMS, _guesses(layer, inputs, flags), strict=True)
    )
    wanted = (a.mean() + b[flags].mean() + c.mean()) / 3
    torch.testing.assert_close(info.losses["completion"], wanted)


def _guesses(
    layer: pf.fusion.Completion, inputs: dict[str, torch.Tensor], b_is_there: torch.Tensor
) -> list[torch.Tensor]:
    one = torch.ones(6, 1, dtype=torch.float64)
    there = b_is_there[:, None].double()
    heard = {
        "a": torch.cat([inputs["a"], one], 1),
        "b": torch.cat([inputs["b"] * there, there], 1),
        "c": torch.cat([inputs["c"], one], 1),
    }
    return [
        one_map(torch.cat([values for other, values in heard.items() if other != name], 1))
        for name, one_map in zip(DIMS, layer.maps, strict=True)
    ]


def test_a_map_learns_the_conditional_mean() -> None:
    torch.manual_seed(0)
    layer = pf.fusion.Completion(pf.fusion.Concat({"a": 1, "b": 1}, 2)).double()
    a = torch.randn(512, 1, dtype=torch.float64)
    inputs = {"a": a, "b": a.abs() + 0.5 * torch.randn(512, 1, dtype=torch.float64)}
    optimizer = torch.optim.Adam(layer.maps.parameters(), lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        layer(inputs, return_info=True)[1].losses["completion"].backward()
        optimizer.step()
    told = layer.complete(layer.read({"a": a, "b": None}))["b"].detach()
    assert (told - a.abs()).square().mean() < 0.02  # noise of .25 is not to be told


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: pf.fusion.Completion(torch.nn.Linear(2, 2)), "must be a fusion layer, got Linear"),
        (lambda: pf.fusion.Completion(pf.fusion.Concat({"a": 2}, 2)), "two modalities or more"),
        (lambda: pf.fusion.Completion(pf.fusion.Concat(DIMS, 2), hidden=0), "number >= 1, got 0"),
    ],
)
def test_wrong_arguments(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]
