"""Runs recorded for the interactive page."""

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.visualize.lab.recording import ROOM, Thinning
from tests.lab.recordings import MOST, a_run, given, unpacked


class TestRecording:
    def test_a_run_is_in_the_page_as_it_is(self):
        run = a_run((2, 3))
        told = given(pf.visualize.lab_page(run, title="mine"))["run"]
        assert told["title"] == "mine"
        assert told["samples"][4] == "5 of 6 (index (1, 1))"
        c = unpacked(told["concentrations"], "<f4", 5, 6, 2, 40)
        np.testing.assert_array_equal(c, run.states.reshape(5, 6, 2, 40).float().numpy())
        phi = run.dynamics.potential(run.states).reshape(5, 6, 40).float().numpy()
        np.testing.assert_array_equal(unpacked(told["potentials"], "<f4", 5, 6, 40), phi)
        mass = unpacked(told["ledger"]["mass"], "<f8", 5, 6, 2)
        np.testing.assert_array_equal(mass, run.ledger.mass.reshape(5, 6, 2).numpy())
        assert told["walls"] == [[1.0, -1.0]] * 6
        assert told["fixed"] is None
        assert told["note"] == ""

    def test_fixed_charge_is_told(self):
        charge = torch.linspace(-1, 1, 40, dtype=torch.float64)
        run = a_run((), fixed_charge=pf.Field(charge))
        told = given(pf.visualize.lab_page(run))["run"]
        np.testing.assert_allclose(unpacked(told["fixed"], "<f4", 40), charge, atol=1e-6)

    def test_each_sample_has_its_own_valences(self):
        cell = pf.PNP(
            pf.Grid((64,), (1.0,), ("wall",)),
            [pf.Species("cation", torch.tensor([1.0, 3.0])), pf.Species("anion", -1)],
            permittivity=0.05,
            walls={"x-": pf.Wall(potential=0.5), "x+": pf.Wall(potential=-0.5)},
        )
        c0 = torch.ones(2, 2, 64, dtype=torch.float64)
        run = pf.simulate(cell, c0, torch.tensor([0.0, 0.01], dtype=torch.float64))
        told = given(pf.visualize.lab_page(run))["run"]
        assert told["valences"] == [[1, -1], [3, -1]]
        assert told["fixed"] is None  # what a mean valence would have left over

    def test_it_says_what_its_times_are(self):
        run = a_run()
        assert given(pf.visualize.lab_page(run))["run"]["clock"] == "time"
        cell, c0 = run.dynamics, run.states[0]
        rounds = pf.unroll(cell, c0, 3, step=1e-6)
        assert given(pf.visualize.lab_page(rounds))["run"]["clock"] == "rounds"
        rest = pf.equilibrium(cell, c0)
        told = given(pf.visualize.lab_page(rest))["run"]
        assert (told["clock"], told["answered"]) == ("rest", [True, True])

    def test_walls_that_move_are_told_at_each_time(self, tmp_path):
        cell = pf.PNP(
            pf.Grid((64,), (1.0,), ("wall",)),
            [pf.Species("cation", 1), pf.Species("anion", -1)],
            permittivity=0.05,
            walls={"x-": pf.Wall(potential=lambda t: 10 * t), "x+": pf.Wall(potential=0.0)},
        )
        c0 = torch.ones(2, 64, dtype=torch.float64)
        times = torch.tensor([0.0, 0.05, 0.1], dtype=torch.float64)
        run = pf.simulate(cell, c0, times)
        for one in (run, pf.load(run.save(tmp_path / "run.safetensors"))):
            told = given(pf.visualize.lab_page(one))["run"]
            left, right = told["walls"][0]
            assert left == pytest.approx([0, 0.5, 1])
            assert right == 0
            phi = unpacked(told["potentials"], "<f4", 3, 64)
            wanted = cell.potential(run.final, t=times[-1])
            np.testing.assert_allclose(phi[-1], wanted, atol=1e-5)

    @pytest.mark.parametrize(
        "sizes", [(5, 6, 2, 40), (2001, 1, 2, 64), (61, 500, 4, 128), (3, 1, 6, 100_000)]
    )
    def test_it_is_thinned_until_it_fits(self, sizes):
        times, samples, species, cells = sizes
        thin = Thinning.of(*sizes)
        rows, columns = thin.rows(times), thin.columns(cells)
        assert rows[0] == 0
        assert rows[-1] == times - 1
        assert columns.max() < cells
        kept = len(rows) * thin.samples
        size = kept * (4 * (species + 1) * len(columns) + 8 * (species + 3))
        assert size <= ROOM
        assert size > ROOM / 8 or (thin.times, thin.samples, thin.cells) == (1, samples, 1)

    def test_a_large_run_makes_a_page_that_is_small_enough(self):
        run = a_run((9,), cells=301, times=41)
        page = pf.visualize.lab_page(run)
        assert len(page.encode()) < MOST
        told = given(page)["run"]
        assert "of 41 times" in told["note"]
        x = unpacked(told["x"], "<f8", -1)
        own = run.dynamics.grid.coordinates(0).numpy()
        assert set(x) <= set(own)
        samples, times = len(told["samples"]), len(unpacked(told["times"], "<f8", -1))
        c = unpacked(told["concentrations"], "<f4", times, samples, 2, len(x))
        columns = np.searchsorted(own, x)
        np.testing.assert_array_equal(c[-1, 0], run.final[0].float().numpy()[:, columns])

    def test_walls_that_let_through_are_told(self):
        bath = {"cation": 1.0, "anion": 1.0}
        walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(concentration=bath)}
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        cell = pf.PNP(pf.Grid((64,), (1.0,), ("wall",)), ions, permittivity=0.1, walls=walls)
        c0 = torch.full((2, 64), 0.5, dtype=torch.float64)
        run = pf.simulate(cell, c0, torch.tensor([0.0, 0.1], dtype=torch.float64))
        assert given(pf.visualize.lab_page(run))["run"]["reservoirs"] == [False, True]
        assert given(pf.visualize.lab_page(a_run()))["run"]["reservoirs"] == [False, False]

    def test_other_runs_are_refused(self):
        grid = pf.Grid((8, 8), (1.0, 1.0), ("periodic", "periodic"))
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        plane = pf.PNP(grid, ions, permittivity=1.0)
        c0 = torch.ones(2, 8, 8, dtype=torch.float64)
        with pytest.raises(ValueError, match=r"`run` must have one axis of space.*Grid\(\(8,\)"):
            pf.visualize.lab_page(pf.simulate(plane, c0, torch.tensor([0.0, 0.1]).double()))
        law = pf.ContractiveDEQ(modalities=1, width=2)
        rest = pf.unroll(law, torch.zeros(1, 2, 2), 2, x=torch.zeros(1, 1, 2))
        with pytest.raises(ValueError, match=r"pnpfusion\.PNP cell, got ContractiveDEQ"):
            pf.visualize.lab_page(rest)
        with pytest.raises(ValueError, match="must name the 2 samples"):
            pf.visualize.lab_page(a_run(), samples=["one"])
