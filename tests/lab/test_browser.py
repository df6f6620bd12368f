"""The interactive page played with in a real browser: its claims and its controls."""

import time

import numpy as np
import pytest

from tests.lab.pages import PRESETS, assert_nothing_was_asked

pytestmark = pytest.mark.slow

SETTINGS = ["valenceA", "valenceB", "debye", "ratio", "dissociation", "recombination", "voltage"]


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
            ("too-far", 40, 1.1, 1.2),
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

    def test_without_b_the_features_of_a_part_as_far(self, lab):
        def right(missing, steps):
            state = lab.open(f"#preset=missing&missing={missing}").step(steps)
            cations = np.array(state["c"][0])
            return cations[64:].sum() / cations.sum()

        for steps in (100, 400):
            without = right("B", steps)
            assert without > 0.55
            assert without == pytest.approx(right("none", steps), abs=0.05)

    def test_the_growth_of_ripples_is_measured(self, lab):
        lab.open("#preset=too-far").step(40)
        growth = lab.state()["measure"]["value"]
        states = [lab.step(count) for count in (0, 1, 1)]
        ripples = [abs(np.diff(np.array(one["c"])[[0, 1, 3, 4]], 6)).max() for one in states]
        assert growth == pytest.approx((ripples[2] / ripples[0]) ** 0.5, rel=0.02)
        assert growth < abs(1 - 2 * states[0]["excess"])  # "up to", says the alarm
        assert "up to 1.16 times" in lab.js("return document.getElementById('alarm').textContent")

    @pytest.mark.parametrize(
        ("hash_", "steps"),
        [
            ("valence&valenceA=0", 50),
            ("screening&voltage=0", 5),
            ("missing&valenceA=0&valenceB=0", 5),
            ("rest&solver=implicit", 5),
            ("too-far", 400),
        ],
    )
    def test_where_there_is_no_number_none_is_shown(self, lab, hash_, steps):
        state = lab.open(f"#preset={hash_}").step(steps)
        assert state["measure"]["value"] is None
        assert lab.js("return document.querySelector('#measure b').textContent") == "–"

    def test_the_debye_length_is_that_of_all_valences(self, lab):
        state = lab.open("#preset=missing&valenceB=3").step(0)
        assert state["measure"]["value"] == 1
        after = lab.step(200)
        strengths = [
            sum(z**2 * sum(c) for z, c in zip((1, 1, 0, 3, 3, 0), one["c"], strict=True))
            for one in (state, after)
        ]
        ratio = (strengths[0] / strengths[1]) ** 0.5
        assert after["measure"]["value"] == pytest.approx(ratio, rel=1e-12)

    def test_energy_that_rises_is_laid_to_the_step(self, lab):
        note = "return document.getElementById('note').textContent"
        for tab in ("ledger", "energy"):
            state = lab.open("#preset=screening&step=0.05").step(10)
            lab.click(f"tab-{tab}")
            assert state["ledger"]["rises"]
            assert state["ledger"]["energy"] > state["ledger"]["energyStart"] + 3
            assert "Δt is too long" in lab.js(note)
        lab.open("#preset=too-far").step(160)
        assert lab.js(note).startswith("Where a concentration is negative there is no free energy")
        state = lab.open("#preset=screening").step(800)
        lab.click("tab-ledger")
        assert not state["ledger"]["rises"]
        assert "with steps short enough the free energy only falls" in lab.js(note)

    def test_without_charge_nothing_is_borrowed(self, lab):
        assert lab.open("#preset=meeting&valenceA=0").step(100)["measure"]["value"] < 1e-12

    def test_a_step_too_long_blows_up_and_says_why(self, lab):
        lab.open("#preset=too-far")
        alarm = "const one = document.getElementById('alarm'); return [one.hidden, one.textContent]"
        assert lab.js(alarm)[0] is False
        assert "It will blow up" in lab.js(alarm)[1]
        assert any(0.9 < v / lab.state()["limit"] < 1 for v in lab.js("return pnp.choices('step')"))
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
        lab.slide("step", lab.js("return pnp.choices('step').indexOf(1.3e-4)"))
        assert "It will blow up" in lab.js("pnp.step(0); " + alarm)[1]


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

    def test_the_film_goes_by_the_clock_not_by_pictures(self, lab):
        film = "for (let k = 0; k < arguments[0]; k++) pnp.film(arguments[1]); return pnp.state()"
        for count, milliseconds in ((5, 100), (1, 500), (125, 4)):
            lab.open("#preset=dissociation&speed=10")
            assert lab.js(film, count, milliseconds)["steps"] == pytest.approx(300, abs=1)

    def test_the_limit_follows_what_is_set_on_the_way(self, lab):
        state = lab.open("#preset=too-far").step(150)
        assert state["ledger"]["lowest"] < 0
        assert not state["blown"]
        lab.slide("ratio", 10)
        assert lab.state()["settings"]["ratio"] == 10
        assert lab.state()["excess"] > 9 * state["excess"]

    def test_after_a_change_energy_is_counted_from_it(self, lab):
        lab.open("#preset=dissociation").step(20)
        table = "return document.getElementById('table').textContent"
        assert "since the last change" not in lab.js(table)
        lab.slide("voltage", 60)
        lab.step(1)
        assert "free energy, since the last change" in lab.js(table)

    @pytest.mark.parametrize(
        ("hash_", "steps", "ending"),
        [
            ("rest", 100, "at rest"),
            ("too-far&solver=anderson&step=0.02&voltage=8", 200, "the map stands still"),
            ("too-far", 400, "blown up"),
            ("rest&solver=picard&step=1e-6&cells=64", 5100, "given up"),
            ("query", 10, ""),
        ],
    )
    def test_how_it_ended_is_said(self, lab, hash_, steps, ending):
        state = lab.open(f"#preset={hash_}").step(steps)
        clock = lab.js("return document.getElementById('clock').textContent")
        assert state["ending"] == ending
        assert clock.endswith(f": {ending}" if ending else f"step {steps}")
        assert all(len(one) <= 5001 for one in state["residuals"].values())

    def test_every_setting_of_a_preset_is_one_of_the_choices(self, lab):
        lab.open()
        for preset in PRESETS.values():
            for key, value in preset["settings"].items():
                if key != "speed" and not key.startswith("features"):
                    assert value in lab.js("return pnp.choices(arguments[0])", key)

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
        from selenium.webdriver import ActionChains

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
        lab.click("preset-screening")
        ActionChains(lab.browser).send_keys(" ").perform()
        assert lab.state()["playing"]
        lab.press("r")
        lab.browser.find_element("id", "debye").send_keys(" ")
        assert lab.state()["playing"]
        lab.press("r")
        slider = lab.browser.find_element("id", "voltage")
        slider.send_keys("\ue014")  # moves the slider, not the run
        state = lab.state()
        assert state["settings"]["voltage"] == 8.5
        assert state["steps"] == 0
        tab = lab.browser.find_element("id", "tab-energy")
        tab.click()
        tab.send_keys("\ue014")
        assert lab.js("return document.activeElement.id") == "tab-rest"


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(browser, lab):
    assert_nothing_was_asked(browser, lab)
