"""What the ledger of a run compares with what."""

import torch

import pnpfusion as pf
from tests.marks import quiet
from tests.registry import f64


@quiet
def test_a_species_that_is_not_there_is_compared_with_those_that_are() -> None:
    """At rest it has a trace of round-off, which is no part of nothing."""
    names = {"p": 1, "q": 1, "m": -1, "n": -1}
    cell = pf.PNP(
        pf.Grid((1,), (1.0,), ("wall",)),
        [pf.Species(name, valence) for name, valence in names.items()],
        permittivity=4e-4,
        reactions=[pf.Reaction(["p"], ["q"], 2.0, 0.5)],
    )
    c0 = torch.tensor([1.0, 1.0, 2.0, 0.0], dtype=f64).reshape(4, 1)
    rest = pf.equilibrium(cell, c0).require_success()
    assert float(rest.ledger.mass_error) < 1e-9
    come = torch.stack([c0, c0 + 1e-3 * (c0 == 0)])
    told = cell.ledger(torch.tensor([0.0, 1.0], dtype=f64), come, None)
    torch.testing.assert_close(told.mass_error, torch.tensor(5e-4, dtype=f64))
