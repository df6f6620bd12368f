"""What is missing is told from what is there."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.training.health import cell_figures

DIMS = {"a": 3, "b": 2, "c": 4}


def completion(seed: int = 0) -> pf.fusion.Completion:
    torch.manual_seed(seed)
    return pf.fusion.Completion(pf.fusion.Concat(DIMS, 5), hidden=16).double()


def around() -> pf.fusion.Progressive:
    encoders = {name: torch.nn.Sequential(torch.nn.Linear(d, 4)) for name, d in DIMS.items()}
    at = dict.fromkeys(encoders, "0")
    fuse = pf.fusion.Concat(dict.fromkeys(DIMS, 4), 5)
    return pf.fusion.Progressive.around(encoders, fuse, width=5, at=at)


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
    a, b, c = (  # of each sample over what it has, b told by what is there
        (guess - inputs[name]).square().mean(1)
        for name, guess in zip(DIMS, _guesses(layer, inputs, flags), strict=True)
    )
    wanted = torch.where(flags, (a + b + c) / 3, (a + c) / 2).mean()
    torch.testing.assert_close(info.losses["completion"], wanted)


def test_the_loss_of_a_batch_is_the_mean_over_its_shares() -> None:
    """Which processes that share a batch rely on, however gaps are spread."""
    layer, inputs = completion(), samples()
    flags = torch.tensor([True, True, False, True, False, True])
    whole, *parts = (
        layer({name: x[rows] for name, x in inputs.items()}, present={"b": flags[rows]},
              return_info=True)[1].losses["completion"]
        for rows in (slice(None), slice(0, None, 2), slice(1, None, 2))
    )  # fmt: skip
    torch.testing.assert_close(whole, sum(parts) / 2)


def test_the_layer_inside_is_called_as_any_other_with_tokens_and_a_start() -> None:
    torch.manual_seed(0)
    layer = pf.fusion.Completion(pf.fusion.DEQ(DIMS, 5)).double()
    inputs = {name: torch.randn(2, 3, width, dtype=torch.float64) for name, width in DIMS.items()}
    heard = []
    layer.layer.register_forward_hook(lambda *_: heard.append(1))
    fused, info = layer(inputs, present={"b": torch.tensor([True, False])}, return_info=True)
    assert heard == [1]
    assert fused.shape == (2, 3, 5)
    assert info.succeeded.shape == info.iterations.shape == (2, 3)
    again = layer(inputs, present={"b": torch.tensor([True, False])}, return_info=True,
                  start=info.solution.final)[1]  # fmt: skip
    assert (again.iterations < info.iterations).all()


def test_cells_inside_are_watched() -> None:
    inside = pf.fusion.PNP(DIMS, 5)
    figures = cell_figures(pf.fusion.Completion(inside))
    assert figures == cell_figures(inside)
    assert figures["debye_cells"] > 0


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
        (lambda: pf.fusion.Completion(around()), "known widths, got one around encoders"),
        (lambda: pf.fusion.Completion(completion()), "`layer` must hold no Completion"),
    ],
)
def test_wrong_arguments(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]
