"""Runs that the interactive page plays, in a real browser."""

import time

import numpy as np
import pytest
import torch

import pnpfusion as pf
from tests.lab.pages import PRESETS, Page, assert_nothing_was_asked, cell_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def played(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("player")
    cell, c0 = cell_of(PRESETS["query"]["settings"])
    times = torch.linspace(0, 0.05, 9, dtype=torch.float64)
    stepper = pf.solvers.AsymptoticPreserving(dt=1e-3)
    run = pf.simulate(cell, torch.stack([c0, 2 * c0]), times, stepper=stepper)
    path = run.save(folder / "run.safetensors")
    from pnpfusion.cli import main

    assert main(["lab", "--run", str(path), "--out", str(folder / "p.html"), "--no-browser"]) == 0
    return Page(browser, folder / "p.html"), pf.load(path)


class TestPlayer:
    def test_it_shows_the_numbers_of_the_file(self, played):
        page, run = played
        page.open()
        for sample, at in ((0, 0), (1, 3), (1, 8)):
            page.js(
                "const one = document.getElementById('sample'); one.value = arguments[0];"
                "one.dispatchEvent(new Event('change'))",
                sample,
            )
            page.slide("when", at)
            state = page.state()
            assert (state["sample"], state["at"]) == (sample, at)
            assert state["time"] == pytest.approx(float(run.times[at]))
            c = run.states[at, sample]
            np.testing.assert_array_equal(np.array(state["c"], np.float32), c.float().numpy())
            phi = run.dynamics.potential(run.states[at])[sample]
            np.testing.assert_allclose(state["phi"], phi.numpy(), atol=1e-6)
            energy = float(run.ledger.free_energy[at, sample])
            assert state["books"]["energy"] == pytest.approx(energy, rel=1e-14)
        assert "of 9" in page.js("return document.getElementById('clock').textContent")

    def test_it_plays_to_the_end_and_again(self, played):
        page, _ = played
        page.open()
        page.press("\ue014")
        page.press("\ue014")
        page.press("\ue012")  # the left arrow
        assert page.state()["at"] == 1
        page.slide("when", 6)
        page.click("play")
        deadline = time.monotonic() + 20
        while not page.state()["done"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert page.state()["at"] == 8
        page.press("r")
        assert page.state()["at"] == 0
        assert page.js("return document.documentElement.scrollWidth") <= 1280
        page.open(width=360)
        assert page.js("return document.documentElement.scrollWidth") <= 360

    def test_a_short_run_takes_as_long_in_few_pictures(self, played):
        page, _ = played
        for count in (1, 20):
            page.open()
            film = "for (let k = 0; k < arguments[0]; k++) pnp.film(2000 / arguments[0])"
            page.js(film, count)
            assert page.state()["at"] in (5, 6)  # three a second

    def test_other_runs_are_told_as_what_they_are(self, browser, tmp_path):
        cell, c0 = cell_of(PRESETS["query"]["settings"])
        rest = pf.equilibrium(cell, c0)
        rounds = pf.unroll(cell, c0, 3, step=1e-6)
        clock = "return document.getElementById('clock').textContent"
        label = "return document.getElementById('when').labels[0].textContent"
        for run, name, words in (
            (rest, "State", ["at the start, 1 of 2", "at rest, 2 of 2"]),
            (rounds, "Round", ["round 0, 1 of 4", "round 1, 2 of 4"]),
        ):
            (tmp_path / "run.html").write_text(pf.visualize.lab_page(run), encoding="utf-8")
            page = Page(browser, tmp_path / "run.html").open()
            assert page.js(label) == name
            assert page.js(clock) == words[0]
            page.step(1)
            assert page.js(clock) == words[1]
            page.click("tab-energy")

    def test_samples_have_their_own_valences_and_long_names_fit(self, browser, tmp_path):
        long = "an_ion_with_a_very_long_name_that_nobody_thought_of_breaking_anywhere" * 2
        cell = pf.PNP(
            pf.Grid((64,), (1.0,), ("wall",)),
            [pf.Species(long, torch.tensor([1.0, 3.0])), pf.Species("</script><b>anion", -1)],
            permittivity=0.05,
            walls={"x-": pf.Wall(potential=lambda t: 10 * t), "x+": pf.Wall(potential=0.0)},
        )
        c0 = torch.ones(2, 2, 64, dtype=torch.float64)
        run = pf.simulate(cell, c0, torch.tensor([0.0, 0.1], dtype=torch.float64))
        text = pf.visualize.lab_page(run, title=long, samples=[long, "two"])
        (tmp_path / "run.html").write_text(text, encoding="utf-8")
        page = Page(browser, tmp_path / "run.html").open(width=360)
        assert page.js("return document.documentElement.scrollWidth") <= 360
        legend = "return document.querySelector('#legend li').textContent"
        assert page.js(legend) == f"{long} (+)"
        page.js(
            "const one = document.getElementById('sample'); one.value = 1;"
            "one.dispatchEvent(new Event('change'))"
        )
        assert page.js(legend) == f"{long} (+3)"
        assert page.step(1)["walls"] == [1, 0]
        names = page.js("return document.getElementById('table').textContent")
        assert "mass of </script><b>anion" in names


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(browser, lab):
    assert_nothing_was_asked(browser, lab)
