"""The parameters of a PNP layer: physical whatever is learned, and what is out of range."""

from __future__ import annotations

import pytest
import torch

import pnpfusion as pf
from tests.fusion.pnp_layers import DIMS, OUT, every_run, features, make
from tests.registry import f64


@every_run
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_features_of_any_size_have_an_answer(run: str, dtype: torch.dtype) -> None:
    layer = make(run).to(dtype)
    sizes = torch.tensor([0.0, 1.0, 1e2, 1e4, 1e6], dtype=dtype)[:, None]
    given = features(5)
    given = {"audio": sizes * given["audio"].to(dtype), "motion": given["motion"].to(dtype)}
    fused, info = layer(given, return_info=True)
    assert info.succeeded.all()
    fused.square().mean().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@every_run
@pytest.mark.parametrize("size", [10.0, 1e4, 1e30])
def test_parameters_stay_physical_whatever_an_optimiser_does(run: str, size: float) -> None:
    layer, given = make(run), features()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in layer.named_parameters():
        if name.endswith("raw"):
            noise = torch.randn(parameter.shape, dtype=f64, generator=generator)
            parameter.data.add_(size * noise)
    fused, info = layer(given, return_info=True)
    assert info.succeeded.all()
    fused.square().sum().backward()
    for module in layer.modules():
        if isinstance(module, pf.fusion.pnp_parameters.Bounded):
            assert (module.values >= module.allowed.low).all(), module.name
            assert (module.values <= module.allowed.high).all(), module.name
    for name, parameter in layer.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_parameters_read_as_they_are_set() -> None:
    layer = make("equilibrium")
    layer.cells.debye_length.assign(torch.tensor([0.6, 1.5]))
    layer.cells.concentration.assign(0.5)
    layer.cells.applied_potential.assign(-4.0)
    wanted = torch.tensor([0.6, 1.5], dtype=f64)
    torch.testing.assert_close(layer.debye_length, wanted)
    torch.testing.assert_close(layer.permittivity, wanted.square())
    torch.testing.assert_close(layer.concentration, torch.full((2,), 0.5, dtype=f64))
    torch.testing.assert_close(layer.applied_potential, torch.full((2,), -4.0, dtype=f64))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("debye_length", 0.0, "`debye_length` must be between 0.50.* and .*, got 0"),
        ("applied_potential", 20.0, "must be between -20 and 20, got 20"),
        ("concentration", float("nan"), "must be between 0.01 and 100, got nan"),
        ("concentration", torch.ones(3), r"a number or of shape \(2,\), got \(3,\)"),
    ],
)
def test_what_is_out_of_range_is_refused(name: str, values: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(make("equilibrium").cells, name).assign(values)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"run": "steady"}, r"`run` must be one of \['equilibrium'.*got 'steady'"),
        ({"encoder": "conv"}, r"`encoder` must be one of \['linear', 'mlp'\], got 'conv'"),
        ({"channels": 0}, "`channels` must be a whole number >= 1, got 0"),
        ({"cells": 1}, "`cells` must be a whole number >= 2, got 1"),
        ({"hidden": 2.0}, "`hidden` must be a whole number >= 1, got 2.0"),
        ({"steps": 0}, "`steps` must be a whole number >= 1, got 0"),
        ({"duration": 0.0}, "`duration` must be a number between 0 and 1e6, got 0.0"),
        (
            {"dissociation": "no"},
            r"`dissociation` must be one of \['direct', 'reaction'\], got 'no'",
        ),
    ],
)
def test_wrong_arguments_are_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.fusion.PNP(DIMS, OUT, **more)  # type: ignore[arg-type]


def test_physical_parameters_are_told_where_they_are_used() -> None:
    rest, direct = make("equilibrium"), make("transient")
    reacting = make("transient", dissociation="reaction")
    channels = reacting.cells.shape[0]
    assert rest.diffusivity is None
    assert rest.reaction_rates is None
    assert direct.reaction_rates is None
    assert direct.diffusivity.shape == (channels, 2)
    assert reacting.diffusivity.shape == (channels, 3)
    assert reacting.reaction_rates.shape == (channels, 2)
    assert (reacting.reaction_rates > 0).all()
