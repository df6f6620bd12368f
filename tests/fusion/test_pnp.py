"""The fusion layer that is a PNP simulation."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from tests.registry import f64

DIMS = {"audio": 3, "motion": 2}
OUT = 4
RUNS = ["equilibrium", "transient"]
every_run = pytest.mark.parametrize("run", RUNS)


def make(run: str, *, seed: int = 0, **more: object) -> pf.fusion.PNP:
    """A small layer with known parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        given = {"channels": 2, "cells": 8} | more
        return pf.fusion.PNP(DIMS, OUT, run=run, **given).to(f64)  # type: ignore[arg-type]


def features(rows: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Normal features."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, d, dtype=f64, generator=generator) for name, d in DIMS.items()}


# the law and its verbs


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


# gradients


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


# fusion


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


# what each modality does


def test_the_parts_of_the_potential_add_up() -> None:
    layer, given = make("equilibrium"), features()
    layer.cells.applied_potential.assign(torch.tensor([3.0, -2.0]))
    _, info = layer(given, return_info=True)
    phi = layer.dynamics.potential(info.solution.final, info.solution.x)
    found = layer.attribution(given)
    assert found.potential.shape == (3, 2, 2, 8)
    torch.testing.assert_close(found.total, phi, rtol=1e-9, atol=1e-9)
    assert found.walls.abs().max() > 0.5
    # ions gather where the potential is, so the parts of their charge add up as well:
    cation, anion = info.solution.final.unbind(-2)
    left, right = (cation - anion).unflatten(-1, (2, 4)).sum(-1).div(8).unbind(-1)
    by_walls = -((anion - cation) / phi * found.walls / 8).unflatten(-1, (2, 4)).sum(-1)
    torch.testing.assert_close(found.sides.sum(1), torch.stack([left, right], -1) - by_walls)


def test_the_parts_of_ions_that_migrate_add_up() -> None:
    layer, given = make("transient"), features()
    _, info = layer(given, return_info=True)
    begin, end = info.solution.states
    found = layer.attribution(given)
    assert found.potential.shape == (3, 2, 2, 8)
    torch.testing.assert_close(found.total, layer.dynamics.potential(end), rtol=1e-9, atol=1e-9)
    past = (end - begin)[..., 4:].sum(-1) / 8
    assert found.past.shape == (3, 2, 2, 2)  # rows, modalities, channels, kinds of ions
    torch.testing.assert_close(found.past.sum(1), past, rtol=1e-9, atol=1e-12)
    # a strong field carries cations one way and anions the other:
    layer.cells.applied_potential.assign(25.0)
    cations, anions = layer.attribution(given).past.unbind(-1)
    assert (cations < 0).all()
    assert (anions > 0).all()


def test_ions_of_a_reaction_are_of_nobody_in_particular() -> None:
    with pytest.raises(ValueError, match="those that a reaction makes are of none"):
        make("transient", dissociation="reaction").attribution(features())


def test_reconstruction_counts_features_that_are_there() -> None:
    layer, given = make("transient"), features()
    flags = torch.tensor([True, False, True])
    _, info = layer(given, present={"motion": flags}, return_info=True)
    run = info.solution
    read = layer.cells.read(run.states[0], run.final)[:, : 2 * 2 * 8]  # of the end alone
    audio, motion = (back(read) for back in layer.cells.reconstruction)
    wrong = (audio - given["audio"]).square().sum(1)
    both = (wrong + (motion - given["motion"]).square().sum(1)) / 5
    mean = torch.where(flags, both, wrong / 3).mean()  # of three features where motion is absent
    torch.testing.assert_close(info.losses["reconstruction"], mean)


def test_reconstruction_can_be_learned() -> None:
    layer, given = make("transient", channels=4), features(64)
    optimiser = torch.optim.Adam(layer.parameters(), 2e-2)
    losses = []
    for _ in range(60):
        loss = layer(given, return_info=True)[1].losses["reconstruction"]
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.1 < 0.5 < losses[0]


def test_who_is_absent_has_no_part() -> None:
    layer, given = make("equilibrium"), features()
    flags = torch.tensor([True, False, True])
    found = layer.attribution(given, present={"motion": flags})
    assert not found.potential[1, 1].any()
    assert found.potential[0, 1].any()
    assert not found.sides[1, 1].any()


def test_nothing_is_attributed_where_nothing_is_shared() -> None:
    with pytest.raises(ValueError, match="coupled=False each has cells of its own"):
        make("equilibrium", coupled=False).attribution(features())


# parameters


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
