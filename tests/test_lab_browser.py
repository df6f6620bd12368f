"""The interactive page played with in a real browser, without a network."""

import json
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.visualize.lab.page import presets

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

PRESETS = {one["name"]: one for one in presets()}
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: Steps after which page and library are compared, by solver, and the explicit step that is stable.
STEPS = {"implicit": 30, "explicit": 60, "picard": 8, "anderson": 12}
CALM_STEP = 1e-6
SETTINGS = ["valenceA", "valenceB", "debye", "ratio", "dissociation", "recombination", "voltage"]


@pytest.fixture(scope="module")
def browser():
    """One browser for all; it keeps a log of what it asks for and of what goes wrong."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="the page is tested with selenium: pip install selenium"
    )
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no browser: on Debian, apt install chromium chromium-driver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(30)
    yield driver
    driver.quit()


class Page:
    """The page in a browser."""

    def __init__(self, browser, path: Path) -> None:
        self.browser, self.path = browser, path

    def open(self, hash_: str = "", *, width: int = 1280, features=()) -> "Page":
        """Load it anew, on a screen so wide, for a reader with these preferences."""
        sizes = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
        told = [{"name": name, "value": value} for name, value in features]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})
        self.browser.get("about:blank")
        self.browser.get(self.path.as_uri() + hash_)
        assert self.js("return document.body.dataset.ready") == "yes"
        return self

    def js(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def state(self):
        return self.js("return pnp.state()")

    def step(self, count):
        return self.js("return pnp.step(arguments[0])", count)

    def press(self, key):
        """A key, with nothing that has the focus."""
        from selenium.webdriver import ActionChains

        self.js("document.activeElement.blur()")
        ActionChains(self.browser).send_keys(key).perform()

    def click(self, id_):
        self.browser.find_element("id", id_).click()

    def click_choice(self, key, value):
        self.js("document.getElementById(arguments[0]).click()", f"{key}-{value}")

    def slide(self, key, place):
        """What a hand does to a slider."""
        self.js(
            "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
            "one.dispatchEvent(new Event('input', {bubbles: true}))",
            key,
            place,
        )


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "lab.html"
    path.write_text(pf.visualize.lab_page(), encoding="utf-8")
    return Page(browser, path)


def cell_of(settings):
    """The cell and its start, made from settings by hand."""
    n, species, start, reactions = settings["cells"], [], [], []
    rates = settings["dissociation"], settings["recombination"]
    for name in "AB":
        z, features = settings[f"valence{name}"], settings[f"features{name}"]
        ions = [f"{name} cation", f"{name} anion"]
        species += [
            pf.Species(ions[0], z),
            pf.Species(ions[1], -z, settings["ratio"]),
            pf.Species(f"{name} salt", 0, 0.1),
        ]
        salt = torch.tensor(features, dtype=torch.float64).repeat_interleave(n // 8) / 4
        salt = 0 * salt if settings["missing"] == name else salt
        start += [torch.full_like(salt, 0.5), torch.full_like(salt, 0.5), salt]
        if any(rates):
            reactions.append(pf.Reaction([f"{name} salt"], ions, *rates))
    half = settings["voltage"] / 2
    cell = pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",)),
        species,
        permittivity=2 * settings["debye"] ** 2,
        walls={"x-": pf.Wall(potential=half), "x+": pf.Wall(potential=-half)},
        reactions=reactions,
    )
    return cell, torch.stack(start)


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
        exec(shown, names)
        assert capsys.readouterr().out
        run, found = names["run"], torch.tensor(state["c"], dtype=torch.float64)
        if run.history is not None:
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


class TestClaims:
    @pytest.mark.parametrize(
        ("name", "steps", "low", "high"),
        [
            ("dissociation", 600, 0.5, 1.0),
            ("query", 400, 0.9, 1.0),
            ("screening", 800, 0.0, 0.01),
            ("meeting", 100, 0.3, 1.0),
            ("valence", 1000, 1.999, 2.001),
            ("missing", 400, 0.5, 0.9),
            ("too-far", 1, 1.1, 1.3),
            ("rest", 60, 0.0, 1e-9),
        ],
    )
    def test_it_is_shown(self, lab, name, steps, low, high):
        state = lab.open(f"#preset={name}").step(steps)
        assert low <= state["measure"]["value"] <= high
        shown = lab.js("return document.getElementById('measure').textContent")
        assert state["measure"]["text"] in shown
        claim = lab.js("return document.getElementById('claim').textContent")
        assert claim == PRESETS[name]["claim"]

    def test_without_charge_nothing_is_borrowed(self, lab):
        assert lab.open("#preset=meeting&valenceA=0").step(100)["measure"]["value"] < 1e-12

    def test_a_step_too_long_blows_up_and_says_why(self, lab):
        lab.open("#preset=too-far")
        alarm = "const one = document.getElementById('alarm'); return [one.hidden, one.textContent]"
        assert lab.js(alarm)[0] is False
        assert "It will blow up" in lab.js(alarm)[1]
        state = lab.step(1000)
        assert state["blown"]
        assert state["steps"] < 500
        assert state["ledger"]["lowest"] < 0
        assert f"blown up after {state['steps']} steps" in lab.js(alarm)[1]
        red = lab.js("return getComputedStyle(document.querySelector('#alarm b')).color")
        assert red == "rgb(165, 15, 75)"
        below = 0.9 * state["limit"]
        stable = max(v for v in lab.js("return pnp.choices('step')") if v < below)
        state = lab.open(f"#preset=too-far&step={stable:g}").step(1000)
        assert not state["blown"]
        assert state["ledger"]["lowest"] >= 0
        assert lab.js(alarm)[0] is True


class TestControls:
    @pytest.mark.parametrize("key", SETTINGS)
    def test_every_number_changes_what_happens(self, lab, key):
        before = lab.open("#preset=missing&missing=none").step(20)
        lab.js("pnp.reset()")
        choices = lab.js("return pnp.choices(arguments[0])", key)
        value = before["settings"][key]
        place = (choices.index(value) + 1) % len(choices)
        if key.startswith("valence"):
            lab.click_choice(key, choices[place])
        else:
            lab.slide(key, place)
        state = lab.step(20)
        assert state["settings"][key] == choices[place]
        assert f"{key}=" in lab.js("return location.hash")
        assert state["steps"] == 20
        assert np.abs(np.array(state["c"]) - np.array(before["c"])).max() > 1e-5

    def test_choices_and_features(self, lab):
        lab.open("#preset=query")
        lab.click_choice("missing", "B")
        assert sum(lab.state()["c"][5]) == 0
        lab.click_choice("cells", 64)
        assert len(lab.state()["c"][0]) == 64
        for solver in ("explicit", "picard", "anderson", "implicit"):
            lab.click_choice("solver", solver)
            assert lab.state()["settings"]["solver"] == solver
            assert lab.step(2)["steps"] == 2
        lab.slide("featuresA-0", 9)
        state = lab.state()
        assert state["settings"]["featuresA"][0] == 9
        assert state["c"][2][0] == 2.25
        lab.slide("step", 0)
        assert lab.step(3)["time"] == pytest.approx(3e-6)

    def test_pictures_may_be_sixty_steps_apart(self, lab):
        before = lab.open("#preset=dissociation").step(60)
        lab.js("pnp.reset()")
        lab.js(
            "const one = document.getElementById('speed'); one.value = 60;"
            "one.dispatchEvent(new Event('change'))"
        )
        assert lab.state()["settings"]["speed"] == 60
        lab.click("play")
        deadline = time.monotonic() + 20
        while lab.state()["steps"] < 60 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lab.js("return location.hash") == "#preset=dissociation&speed=60"
        lab.click("play")
        lab.click("reset")
        assert lab.step(60)["c"] == before["c"]  # it changes no number

    def test_a_running_cell_takes_a_new_voltage(self, lab):
        lab.open("#preset=dissociation").step(20)
        lab.slide("voltage", 60)
        state = lab.step(20)
        assert state["steps"] == 40
        assert state["phi"][0] > 4
        assert "changed on the way" in state["python"]

    def test_play_step_and_reset(self, lab):
        lab.open("#preset=dissociation")
        lab.click("onward")
        assert lab.state()["steps"] == 1
        lab.click("play")
        deadline = time.monotonic() + 20
        while lab.state()["steps"] < 11 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert lab.state()["playing"]
        lab.click("play")
        state = lab.state()
        assert state["steps"] >= 11
        assert not state["playing"]
        assert lab.js("return document.getElementById('live').textContent").startswith("Paused.")
        lab.click("reset")
        assert lab.state()["steps"] == 0

    def test_tabs(self, lab):
        lab.open("#preset=rest").step(5)
        shown = (
            "return ['table', 'curve', 'script'].filter("
            "id => document.getElementById(id).offsetParent)"
        )
        for tab, part in (
            ("ledger", "table"),
            ("energy", "curve"),
            ("rest", "curve"),
            ("python", "script"),
        ):
            lab.click(f"tab-{tab}")
            assert lab.js(shown) == [part]
        assert "free energy" in lab.js("return document.getElementById('table').textContent")

    def test_the_keyboard(self, lab):
        lab.open()
        lab.press("3")
        assert lab.state()["preset"] == "screening"
        lab.press("\ue014")  # the right arrow
        assert lab.state()["steps"] == 1
        lab.press(" ")
        assert lab.state()["playing"]
        lab.press(" ")
        assert not lab.state()["playing"]
        lab.press("r")
        assert lab.state()["steps"] == 0
        slider = lab.browser.find_element("id", "voltage")
        slider.send_keys("\ue014")  # moves the slider, not the run
        state = lab.state()
        assert state["settings"]["voltage"] == 8.5
        assert state["steps"] == 0
        tab = lab.browser.find_element("id", "tab-energy")
        tab.click()
        tab.send_keys("\ue014")
        assert lab.js("return document.activeElement.id") == "tab-rest"


class TestPage:
    def test_the_address_holds_all_settings(self, lab):
        lab.open("#preset=query")
        lab.slide("voltage", 12)
        lab.slide("debye", 2)
        lab.click_choice("valenceB", 3)
        lab.slide("featuresB-3", 7)
        state = lab.step(5)
        hash_ = lab.js("return location.hash")
        again = lab.open(hash_)
        assert again.state()["settings"] == state["settings"]
        assert lab.js("return location.hash") == hash_
        assert again.step(5)["c"] == state["c"]

    @pytest.mark.parametrize(
        "hash_", ["#", "#preset=no", "#voltage=1e9&cells=-1&featuresA=x", "#%%%"]
    )
    def test_a_bad_address_does_no_harm(self, lab, hash_):
        state = lab.open(hash_).step(1)
        assert state["settings"] == PRESETS["dissociation"]["settings"]

    @pytest.mark.parametrize("width", [360, 820, 1280])
    def test_it_fits_the_screen(self, lab, width):
        lab.open("#preset=too-far", width=width).step(60)
        assert lab.js("return document.documentElement.scrollWidth") <= width
        small = lab.js(
            "return [...document.querySelectorAll('p, label, legend, td, button')].filter(one =>"
            "one.offsetParent && parseFloat(getComputedStyle(one).fontSize) < 11).length"
        )
        assert small == 0

    def test_everything_has_a_name(self, lab):
        lab.open()
        nameless = lab.js(
            "return [...document.querySelectorAll('input, button, select, canvas')].filter(one =>"
            "!(one.labels?.length || one.ariaLabel || one.textContent.trim()"
            "|| one.getAttribute('role') === 'img')).map(one => one.outerHTML)"
        )
        assert nameless == []

    def test_dots_do_not_move_where_motion_is_unwelcome(self, lab):
        picture = "return document.getElementById('cell').toDataURL()"
        lab.open(features=[("prefers-reduced-motion", "reduce")])
        still = lab.js(picture)
        time.sleep(0.3)
        assert lab.js(picture) == still
        lab.js("document.getElementById('play').click()")
        time.sleep(0.8)
        playing = lab.js(picture)
        time.sleep(0.8)
        assert lab.js(picture) == playing  # electrodes only
        assert lab.state()["steps"] > 0
        assert playing != still
        lab.open()
        moving = lab.js(picture)
        time.sleep(0.3)
        assert lab.js(picture) != moving

    def test_dark_is_dark(self, lab):
        background = "return getComputedStyle(document.body).backgroundColor"
        assert (
            lab.open(features=[("prefers-color-scheme", "dark")]).js(background)
            == "rgb(20, 23, 28)"
        )
        assert lab.open().js(background) == "rgb(252, 251, 248)"


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


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(browser, lab):
    lab.open("#preset=query").step(3)
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "about"}
    assert [entry["message"] for entry in browser.get_log("browser")] == []
