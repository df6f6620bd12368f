"""The numbers of the interactive page, in a real browser, are those of the library."""

import warnings

import pytest
import torch

import pnpfusion as pf
from tests.lab.pages import PRESETS, assert_nothing_was_asked, cell_of

pytestmark = pytest.mark.slow

#: Steps after which page and library are compared, by solver, and the explicit step that is stable.
STEPS = {"implicit": 30, "explicit": 60, "picard": 8, "anderson": 12}
CALM_STEP = 1e-6


class OneStep(pf.Dynamics):
    """Stands still where an implicit step changes nothing."""

    state_ndim = 2

    def __init__(self, cell, dt):
        super().__init__()
        self.cell, self.dt = cell, dt

    def rate(self, t, u, x=None):
        dt = torch.full(u.shape[:1], self.dt, dtype=u.dtype)
        return self.cell.bind(u).robust_step(0 * dt, dt, u) - u


def library(settings, steps):
    """Where the library comes to in so many steps, and the residuals of an iteration."""
    cell, c0 = cell_of(settings)
    solver, dt = settings["solver"], settings["step"]
    if solver == "explicit":
        return pf.unroll(cell, c0, steps, step=dt).final, None
    if solver == "implicit":
        times = dt * torch.arange(steps + 1, dtype=torch.float64)
        stepper = pf.solvers.AsymptoticPreserving(dt=dt)
        return pf.simulate(cell, c0, times, stepper=stepper).final, None
    method = {"picard": pf.solvers.Picard, "anderson": pf.solvers.Anderson}[solver]
    seen = []
    law = OneStep(cell, dt)
    rate = law.rate
    law.rate = lambda t, u, x=None: seen.append(u[0].detach()) or rate(t, u, x)
    run = pf.equilibrium(law, c0[None], solver=method(max_evaluations=steps + 1), tol=1e-9)
    assert len(run.history) == steps + 1
    return seen[2 + steps], run.history[:, 0]  # two are asked whether the law changes with time


def difference(state, settings, steps):
    """By how much page and library differ, against the largest concentration."""
    wanted, history = library(settings, steps)
    if history is not None:
        told = torch.tensor(state["residuals"][settings["solver"]], dtype=torch.float64)
        torch.testing.assert_close(told, history, rtol=1e-6, atol=1e-12)
    found = torch.tensor(state["c"], dtype=torch.float64)
    return float((found - wanted).abs().max() / wanted.abs().max())


class TestNumbers:
    @pytest.mark.parametrize("solver", STEPS)
    @pytest.mark.parametrize("name", PRESETS)
    def test_every_preset_and_solver_agrees_with_the_library(self, lab, name, solver):
        settings = {**PRESETS[name]["settings"], "solver": solver}
        own = PRESETS[name]["settings"]["solver"] == solver
        if solver == "explicit" and not own:
            settings["step"] = CALM_STEP
        hash_ = f"#preset={name}&solver={solver}"
        lab.open(hash_ if own else f"{hash_}&step={settings['step']:g}")
        steps = 40 if name == "rest" and own else STEPS[solver]
        state = lab.step(steps)
        assert {key: state["settings"][key] for key in settings} == settings
        assert state["steps"] == steps
        # Anderson's least squares multiply round-off.
        assert difference(state, settings, steps) < (1e-6 if solver == "anderson" else 1e-10)

    @pytest.mark.parametrize("name", PRESETS)
    def test_the_script_that_the_page_shows_comes_to_the_same(self, lab, name, capsys):
        state = lab.open(f"#preset={name}").step(10)
        lab.click("tab-python")
        shown = lab.js("return document.getElementById('code').textContent")
        assert shown == state["python"]
        names: dict = {}
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            exec(shown, names)
        assert bool(heard) == (name == "too-far")
        assert capsys.readouterr().out
        run, found = names["run"], torch.tensor(state["c"], dtype=torch.float64)
        if run.history is None:
            assert len(run.times) == 2  # after an hour of play, too
        else:
            torch.testing.assert_close(
                torch.tensor(state["residuals"][state["settings"]["solver"]]).double(),
                run.history[:, 0],
                rtol=1e-6,
                atol=1e-12,
            )
        torch.testing.assert_close(run.final.reshape(found.shape), found, rtol=0, atol=1e-9)

    def test_potential_energy_and_ledger_are_the_library_s(self, lab):
        state = lab.open("#preset=query").step(50)
        cell, c0 = cell_of(state["settings"])
        c = torch.tensor(state["c"], dtype=torch.float64)
        phi = torch.tensor(state["phi"], dtype=torch.float64)
        torch.testing.assert_close(cell.potential(c), phi, rtol=0, atol=1e-11)
        assert state["energy"] == pytest.approx(float(cell.energy(c)), rel=1e-12)
        for row in state["ledger"]["rows"]:
            assert row["now"] == pytest.approx(row["start"], rel=1e-13)
        assert state["ledger"]["lowest"] == min(0.0, float(c.min()), float(c0.min()))

    def test_the_rest_it_finds_is_the_state_of_rest(self, lab):
        state = lab.open("#preset=rest").step(200)
        assert state["done"]
        cell, c0 = cell_of(state["settings"])
        rest = pf.equilibrium(cell, c0).require_success().final
        torch.testing.assert_close(
            torch.tensor(state["c"], dtype=torch.float64), rest, rtol=0, atol=1e-6
        )
        assert len(state["residuals"]["anderson"]) < 60
        assert state["residuals"]["picard"][-1] > 1e-4

    def test_a_map_that_stands_still_where_the_cell_would_not_is_named(self, lab):
        note = "return document.getElementById('note').textContent"
        lab.open("#preset=rest").step(200)
        lab.click("tab-rest")
        assert "from the same start" in lab.js(note)
        state = lab.open("#preset=rest&voltage=8&debye=0.05&step=0.01").step(200)
        lab.click("tab-rest")
        assert state["done"]
        assert "the cell would not" in lab.js(note)
        cell, _ = cell_of(state["settings"])
        rate = cell.rate(0.0, torch.tensor(state["c"], dtype=torch.float64))
        assert float(rate.abs().max()) > 1

    def test_the_limit_of_explicit_steps_is_the_library_s(self, lab):
        state = lab.open("#preset=too-far").state()
        cell, c0 = cell_of(state["settings"])
        stepper, times = pf.solvers.Euler(dt=1.001 * state["limit"]), torch.tensor([0.0, 1e-9])
        with pytest.warns(UserWarning, match="longer than about"):
            pf.simulate(cell, c0, times.double(), stepper=stepper)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stepper = pf.solvers.Euler(dt=0.999 * state["limit"])
            pf.simulate(cell, c0, times.double(), stepper=stepper)


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(browser, lab):
    assert_nothing_was_asked(browser, lab)
