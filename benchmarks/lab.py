"""The lab page in headless Chromium: size, first paint, work for a picture, and how far it is off.

usage: python -m benchmarks.lab [--rounds 9]

`first paint` is Chromium's own first-contentful-paint of the file opened from disk, anew in each
round. `60 steps at N = 256` is what a picture costs at the highest speed: the steps of a solver,
and the drawing after them, in milliseconds; 33 ms are 30 pictures a second. `off by` is the largest
difference of a concentration between the page and the script that the page shows, run here, after
as many steps, against the largest concentration. Medians and smallest of all rounds.

One JSON line per row, then a table. Needs selenium, chromium and chromedriver.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import count
from benchmarks.chromium import absent, chromium
from benchmarks.script import options, say, show
from pnpfusion.visualize.lab.page import lab_page, presets

#: Steps after which page and script are compared.
STEPS = {"implicit": 100, "explicit": 100, "picard": 40, "anderson": 40}
PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def first_paints(driver: Any, url: str, rounds: int) -> list[float]:
    """In milliseconds, of one loading each."""
    found = []
    for _ in range(rounds):
        driver.get("about:blank")
        driver.get(url)
        paint = None
        while paint is None:
            paint = driver.execute_script(PAINT)
        found.append(float(paint))
    return found


def work(driver: Any, url: str, solver: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of 60 steps, and of the drawing after them."""
    driver.get("about:blank")
    driver.get(f"{url}#preset=query&cells=256&solver={solver}&step=1e-6")
    told = [driver.execute_script("return pnp.time(60)") for _ in range(rounds + 1)][1:]
    return [one["steps"] for one in told], [one["drawing"] for one in told]


def off(driver: Any, url: str, preset: dict[str, Any]) -> float:
    """By how much the page differs from the script that it shows."""
    driver.get("about:blank")
    driver.get(f"{url}#preset={preset['name']}")
    steps = STEPS[preset["settings"]["solver"]]
    state = driver.execute_script("return pnp.step(arguments[0])", steps)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(state["python"], names)
    final = names["run"].final.reshape(6, -1)
    found = torch.tensor(state["c"], dtype=torch.float64)
    return float((found - final).abs().max() / final.abs().max())


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=9)
    rounds = parser.parse_args().rounds
    if absent():
        sys.exit(f"absent: {absent()}; nothing was measured.")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def note(what: str, unit: str, values: list[float]) -> None:
        median, least = statistics.median(values), min(values)
        rows.append({"what": what, "unit": unit, "median": median, "min": least})
        say(rows[-1])

    with tempfile.TemporaryDirectory() as folder, chromium() as driver:
        path = Path(folder) / "lab.html"
        path.write_text(lab_page(), encoding="utf-8")
        note("the file", "kB", [path.stat().st_size / 1000])
        note("first paint", "ms", first_paints(driver, path.as_uri(), rounds))
        for solver in STEPS:
            steps, drawing = work(driver, path.as_uri(), solver, rounds)
            note(f"60 steps at N = 256, {solver}", "ms", steps)
            note(f"drawing after them, {solver}", "ms", drawing)
        for preset in presets():
            name, solver = preset["name"], preset["settings"]["solver"]
            note(
                f"off by, {name}, {STEPS[solver]} steps {solver}",
                "relative",
                [off(driver, path.as_uri(), preset)],
            )
    show(rows, ("what", "median", "min", "unit"))


if __name__ == "__main__":
    main()
