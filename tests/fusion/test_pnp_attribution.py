"""Whose ions and whose features a PNP layer's answer comes from."""

from __future__ import annotations

import pytest
import torch

from tests.fusion.pnp_layers import features, make


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
