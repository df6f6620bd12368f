"""The interactive page for every reader, in a real browser: address, screens, voices, motion."""

import time

import pytest

from tests.lab.pages import PRESETS, assert_nothing_was_asked

pytestmark = pytest.mark.slow


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

    def test_a_bad_address_is_told_with_what_may_be(self, lab):
        said = "const one = document.getElementById('alarm'); return [one.hidden, one.textContent]"
        lab.open("#preset=query&voltage=99&step=<b>x&debye=0.1")
        hidden, text = lab.js(said)
        assert not hidden
        assert "voltage=99, which was not taken: Voltage is from −20 to 20" in text
        assert "step=<b>x, which" in text
        assert "debye" not in text
        assert lab.js("return document.getElementById('warning').textContent") == text
        lab.slide("voltage", 3)
        assert lab.js(said)[0]

    @pytest.mark.parametrize(
        ("width", "height"), [(1280, 577), (1280, 720), (1366, 768), (390, 844), (844, 390)]
    )
    def test_the_buttons_are_always_in_view(self, lab, width, height):
        for hash_ in ("#preset=too-far", "#preset=meeting"):
            lab.open(hash_, width=width, height=height)
            low = "return document.getElementById('reset').getBoundingClientRect().bottom"
            assert lab.js(low) <= height
        seen = "return document.getElementById('potential').getBoundingClientRect().bottom"
        dock = "return document.getElementById('dock').getBoundingClientRect().top"
        if (width, height) == (390, 844):
            assert lab.js(seen) <= lab.js(dock)

    def test_the_experiment_of_a_link_is_in_sight_on_a_phone(self, lab):
        lab.open("#preset=rest", width=390)
        left, right = lab.js(
            "const one = document.getElementById('preset-rest').getBoundingClientRect();"
            "return [one.left, one.right]"
        )
        assert left >= 0
        assert right <= 390

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
            "!(one.labels?.length || one.ariaLabel"
            "|| (one.tagName === 'BUTTON' && one.textContent.trim()))).map(one => one.outerHTML)"
        )
        assert nameless == []

    def test_a_warning_is_said_once_and_the_clock_is_silent(self, lab):
        lab.open("#preset=too-far")
        heard = lab.js(
            "window.heard = [];"
            "const said = '[role=alert], [aria-live=polite], output:not([aria-live=off])';"
            "new MutationObserver(all => all.forEach(({target}) => {"
            "const live = (target.closest ? target : target.parentElement)?.closest(said);"
            "if (live) window.heard.push(`${live.id}: ${live.textContent}`);"
            "})).observe(document.body, {subtree: true, childList: true, characterData: true});"
            "return document.getElementById('warning').textContent"
        )
        assert heard == "The step is too long. It will blow up."
        for _ in range(10):
            lab.step(15)
        lab.step(100)
        assert lab.js("return window.heard") == [
            "warning: The step is too long. It is blowing up.",
            f"warning: The step is too long. It has blown up after {lab.state()['steps']} steps.",
        ]

    def test_what_a_control_does_can_be_read_without_hovering(self, lab):
        lab.open(width=390)
        lab.js("document.querySelector('#help summary').click()")
        told = lab.browser.find_element("id", "help").text
        titles = lab.js(
            "return [...document.querySelectorAll('#controls [title]')]"
            ".map(one => one.title).filter(one => !one.startsWith('As the valence'))"
        )
        assert len(titles) > 8
        assert all(title in told for title in titles)
        assert lab.js("return document.documentElement.scrollWidth") <= 390

    def test_an_address_that_the_browser_refuses_is_set_later(self, lab):
        lab.open("#preset=query")
        lab.js(
            "window.real = history.replaceState;"
            "history.replaceState = () => { throw new DOMException('too often'); }"
        )
        clock = "return document.getElementById('clock').textContent"
        lab.step(3)
        lab.slide("featuresA-0", 9)
        assert lab.state()["settings"]["featuresA"][0] == 9
        lab.js("history.replaceState = window.real")
        deadline = time.monotonic() + 20
        while "featuresA=9" not in lab.js("return location.hash") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "featuresA=9" in lab.js("return location.hash")
        assert "step 0" in lab.js(clock)

    @pytest.mark.parametrize("height", [800, 900, 1000])
    def test_notes_stay_above_the_foot(self, lab, height):
        lab.open("#preset=screening&step=0.05&dissociation=1", height=height).step(10)
        lab.click("tab-ledger")
        assert (
            lab.js(
                "return document.querySelector('footer').getBoundingClientRect().top"
                " - document.getElementById('note').getBoundingClientRect().bottom"
            )
            >= 4
        )

    def test_at_rest_only_the_dots_are_drawn(self, lab):
        lab.open("#preset=query").step(3)
        counts = lab.js(
            "const done = {cell: 0, densities: 0, potential: 0};"
            "const clear = CanvasRenderingContext2D.prototype.clearRect;"
            "CanvasRenderingContext2D.prototype.clearRect = function (...all) "
            "{ done[this.canvas.id] += 1; return clear.apply(this, all); };"
            "window.done = done; window.asked = 0; const style = window.getComputedStyle;"
            "window.getComputedStyle = (...all) => { window.asked += 1; return style(...all); };"
            "return done"
        )
        assert counts == {"cell": 0, "densities": 0, "potential": 0}
        deadline = time.monotonic() + 20
        while lab.js("return window.done.cell") < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        done, asked = lab.js("return [window.done, window.asked]")
        assert done["cell"] >= 5
        assert (done["densities"], done["potential"]) == (0, 0)
        assert asked <= done["cell"] + 1

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


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(browser, lab):
    assert_nothing_was_asked(browser, lab)
