"""The page docs/gmf_and_pnp.md: each of its claims, and the numbers that it quotes."""

from __future__ import annotations

import re
import runpy

import pytest
import torch

from tests.source_tree import ROOT

PAGE = ROOT / "docs" / "gmf_and_pnp.md"
QUOTED = re.compile(r"^((?:cell|gmf): .*?)  +(0 to round-off|[\d.e+-]+)$", re.M)
ROUND_OFF = 1e-10  #: what the example calls so


@pytest.fixture(scope="module")
def example():
    """What the page's script defines."""
    return runpy.run_path(str(ROOT / "benchmarks" / "gmf_and_pnp.py"))


@pytest.fixture(scope="module")
def cell(example):
    """What is measured in the cell."""
    return {name: float(value) for name, value in example["cell_facts"]()[0].items()}


@pytest.fixture(scope="module")
def gmf(example):
    """What is measured of GMF."""
    with torch.random.fork_rng():
        return {name: float(value) for name, value in example["gmf_facts"]().items()}


def test_the_page_quotes_what_is_measured(cell, gmf):
    """To the two digits it gives; a training's last loss to a factor, since it falls steeply."""
    facts, quoted = cell | gmf, dict(QUOTED.findall(PAGE.read_text(encoding="utf-8")))
    assert quoted.keys() == facts.keys()
    for name, text in quoted.items():
        if text == "0 to round-off":
            assert facts[name] < ROUND_OFF, name
        elif name == "gmf: reconstruction loss after":
            assert float(text) / 10 < facts[name] < float(text) * 10
        else:
            assert facts[name] == pytest.approx(float(text), rel=0.06), name


def test_conservation_is_a_law_in_the_cell_and_no_reconstruction(cell):
    assert cell["cell: largest relative change of a mass"] < 1e-12
    assert cell["cell: error of features read back before"] < 1e-14
    assert cell["cell: error of features read back after"] > 1


def test_reconstruction_is_a_loss_in_gmf_and_needs_no_invariants(gmf):
    assert gmf["gmf: reconstruction loss before"] > 1
    assert gmf["gmf: reconstruction loss after"] < 1e-5
    assert gmf["gmf: error of a read back from p_a alone"] < ROUND_OFF


def test_the_index_is_fixed_and_the_potential_is_not(cell, gmf, example):
    assert gmf["gmf: units left of the boundary, of 32"] == 16
    _, run = example["cell_facts"]()
    middle = example["CELL"].potential(run.states)[..., 31:33].mean(-1)
    assert (middle[0].abs() > 0.05).all()
    assert ((middle[-1] - middle[0]).abs() > 0.05).all()
    assert middle[0].max() - middle[0].min() > 0.5
    nothing = torch.zeros_like(run.states[:1])
    applied = example["CELL"].potential(nothing)[..., 31:33].mean(-1)
    assert (applied.abs() < 1e-12).all()


def test_cations_of_a_cross_over_and_anions_stay(cell):
    for name, (before, after) in {
        "a cations": (0, 0.97),
        "a anions": (0, 0.03),
        "b cations": (1, 0.97),
        "b anions": (1, 0.03),
    }.items():
        assert cell[f"cell: share of {name} in the right half before"] == before
        assert cell[f"cell: share of {name} in the right half after"] == pytest.approx(
            after, abs=0.01
        )


def test_migration_takes_time_and_the_exchange_is_complete(example):
    """The share of a's cations in the right half grows with every tenth of the run, never to 1."""
    _, run = example["cell_facts"]()
    crossed = (run.states[..., 32:].sum(-1) / run.states.sum(-1))[::4, :, 0]
    assert (crossed.diff(dim=0) > 0).all()
    assert (crossed < 0.99).all()


def test_parts_are_uncoupled_in_gmf_and_coupled_in_the_cell(cell, gmf):
    assert gmf["gmf: slope of a part by the other, at most"] == 0
    assert gmf["gmf: slope of a part by its own feature, at least"] > 0.05
    assert 0.02 < cell["cell: share of a's ions that b's displace"] < 0.2
