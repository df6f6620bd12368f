"""The fusion layer that is a PNP simulation."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from tests.fusion.pnp_layers import DIMS, OUT, every_run, features, make
from tests.registry import f64


def test_the_verb_on_the_law_gives_the_layers_state() -> None:
    layer, given = make("equilibrium"), features()
    fused, info = layer(given, return_info=True)
    assert torch.equal(fused, layer(given))
    run = info.solution
    assert run.succeeded.all()
    again = pf.equilibrium(layer.dynamics, run.states[0], x=run.x)
    assert torch.equal(again.final, run.final)
    assert run.final.shape == (3, 2, 2, 8)  # rows, channels, species, cells
    # the same state by the road through time:
    times = torch.tensor([0.0, 200.0], dtype=f64)
    late = pf.simulate(layer.dynamics, run.states[0], times, x=run.x, rtol=1e-8)
    torch.testing.assert_close(late.final, run.final, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dissociation", ["direct", "reaction"])
def test_the_verb_on_the_law_gives_the_ions_that_migrated(dissociation: str) -> None:
    layer, given = make("transient", dissociation=dissociation), features()
    fused, info = layer(given, return_info=True)
    torch.testing.assert_close(layer(given), fused, rtol=1e-13, atol=1e-13)
    run = info.solution
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pf.dynamics.resolution.ResolutionWarning)
        again = pf.simulate(layer.dynamics, run.states[0], run.times, stepper=layer.cells.stepper)
    assert torch.equal(again.final, run.final)
    assert run.final.shape == (3, 2, 3 if dissociation == "reaction" else 2, 8)


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_migration_keeps_every_ion_and_stays_positive(coupled: bool, dtype: torch.dtype) -> None:
    layer = make("transient", coupled=coupled, steps=2).to(dtype)
    given = {name: 10 * values.to(dtype) for name, values in features(20).items()}
    _, info = layer(given, return_info=True)
    begin, end = info.solution.states
    assert (end > 0).all()
    kept = 1e-14 if dtype == f64 else 1e-5
    torch.testing.assert_close(end.sum(-1), begin.sum(-1), rtol=10 * kept, atol=0)
    assert (end - begin).abs().max() > 0.1


def test_a_reaction_makes_as_many_cations_as_anions() -> None:
    layer = make("transient", dissociation="reaction")
    _, info = layer(features(), return_info=True)
    begin, end = info.solution.states.sum(-1)
    made = end - begin
    torch.testing.assert_close(made[..., 0], made[..., 1])
    torch.testing.assert_close(made[..., 0], -made[..., 2])
    assert (made[..., 0] > 0.1).all()


def test_the_potential_that_is_read_is_that_of_the_law() -> None:
    layer = make("transient")
    _, info = layer(features(), return_info=True)
    final = info.solution.final
    start = info.solution.states[0]
    read = layer.cells.read(start, final).unflatten(1, (4, 2, 8))
    wanted = layer.dynamics.potential(final)
    torch.testing.assert_close(read[:, 0], wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(read[:, 1], final.sum(-2))
    torch.testing.assert_close(read[:, 2:].flatten(1), 0.3 * start.flatten(1))


def test_the_potential_that_is_read_solves_poisson_boltzmann() -> None:
    layer = make("equilibrium")
    _, info = layer(features(), return_info=True)
    run, law = info.solution, layer.dynamics
    cation, anion = run.final.unbind(-2)
    phi = (anion.log() - cation.log()) / 2
    torch.testing.assert_close(phi, law.potential(run.final, run.x), rtol=1e-9, atol=1e-9)
    c0 = layer.concentration.detach()[:, None]
    torch.testing.assert_close(cation, c0 * torch.exp(-phi), rtol=1e-9, atol=0)


@pytest.mark.parametrize("cells", [4, 8, 16, 33])
def test_cells_are_fine_enough_for_their_debye_lengths(cells: int) -> None:
    layer = make("equilibrium", cells=cells)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, info = layer(features(), return_info=True)
        layer.cells.debye_length.raw.data.fill_(-1e3)  # the lowest that it can be
        layer(features(), return_info=True)
    assert info.succeeded.all()


@every_run
def test_gradients_are_those_of_finite_differences(run: str) -> None:
    layer = make(run)
    given = {name: values.requires_grad_() for name, values in features(2).items()}
    weights = torch.randn(2, OUT, dtype=f64, generator=torch.Generator().manual_seed(1))

    def value() -> Tensor:
        fused, info = layer(given, return_info=True)
        return (fused * weights).sum() + sum(info.losses.values())

    value().backward()
    step = 1e-5
    for name, parameter in [*layer.named_parameters(), *given.items()]:
        flat, gradient = parameter.data.view(-1), parameter.grad
        assert gradient is not None, name
        slope = gradient.flatten()
        at = int(slope.abs().argmax())
        for i in {0, at, len(flat) - 1}:
            kept = flat[i].clone()
            with torch.no_grad():
                flat[i] = kept + step
                above = value()
                flat[i] = kept - step
                below = value()
                flat[i] = kept
            wanted = (above - below) / (2 * step)
            torch.testing.assert_close(slope[i], wanted, rtol=2e-6, atol=2e-8, msg=name)


def mixed_derivative(layer: pf.fusion.PNP) -> Tensor:
    """d2 y / d audio d motion by central differences of the gradient, (audio, motion)."""
    given = {name: values[:1] for name, values in features().items()}

    def gradient(motion: Tensor) -> Tensor:
        audio = given["audio"].clone().requires_grad_()
        fused = layer({"audio": audio, "motion": motion})
        return torch.autograd.grad(fused[0, 0], audio)[0][0]

    columns = []
    for unit in torch.eye(DIMS["motion"], dtype=f64):
        above, below = (gradient(given["motion"] + s * 1e-4 * unit) for s in (1, -1))
        columns.append((above - below) / 2e-4)
    return torch.stack(columns, 1)


@every_run
def test_only_shared_cells_make_products_of_modalities(run: str) -> None:
    assert mixed_derivative(make(run, coupled=False)).abs().max() < 1e-10
    assert mixed_derivative(make(run)).abs().max() > 1e-3


@every_run
def test_cells_apart_add_up(run: str) -> None:
    layer, given = make(run, coupled=False), features()
    one, other = ({**given, name: None} for name in DIMS)
    nothing = layer({**given, "audio": torch.zeros(3, 3, dtype=f64), "motion": None})
    both = layer(given) - layer(one)  # what audio adds beside motion
    alone = layer(other) - nothing
    zero = {**given, "audio": torch.zeros(3, 3, dtype=f64)}
    torch.testing.assert_close(layer(given) - layer(zero), alone)
    assert both.abs().max() > 1e-3


@every_run
@pytest.mark.parametrize("coupled", [True, False])
def test_an_absent_modality_is_neutral(run: str, coupled: bool) -> None:
    layer, given = make(run, coupled=coupled), features()
    _, info = layer({"audio": given["audio"], "motion": None}, return_info=True)
    batch = pf.fusion.inputs.read_inputs(DIMS, {"audio": given["audio"], "motion": None})
    _, motion = layer.cells.outset(batch).parts
    brought = motion if run == "equilibrium" else motion[..., 0, :] - motion[..., 1, :]
    assert not brought.any()
    assert info.succeeded.all()
