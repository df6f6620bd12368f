"""The interactive page in a browser, and the cells of its settings made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import pnpfusion as pf
from pnpfusion.visualize.lab.page import presets

PRESETS = {one["name"]: one for one in presets()}


class Page:
    """The page in a browser."""

    def __init__(self, browser, path: Path) -> None:
        self.browser, self.path = browser, path

    def open(self, hash_="", *, width=1280, height=800, features=()) -> Page:
        """Load it anew, on a screen so wide, for a reader with these preferences."""
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
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


def assert_nothing_was_asked(browser, page: Page) -> None:
    """Of a network, by any page that was open since this was looked at last; nor did one fail."""
    page.open("#preset=query").step(3)
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "about"}
    assert [entry["message"] for entry in browser.get_log("browser")] == []
