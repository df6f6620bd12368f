"""The page as one text, put together from its parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pnpfusion

if TYPE_CHECKING:
    from pnpfusion.solution import Solution

#: The scripts in their order: what is used stands before what uses it.
SCRIPTS = (
    *("elements", "words", "palette", "tridiagonal", "physics", "rest", "settings"),
    *("simulation", "python", "measures", "plots", "stage", "controls", "books"),
    *("lab", "player", "main"),
)


def presets() -> list[dict[str, Any]]:
    """The experiments of the page, each with its claim and its settings."""
    found: list[dict[str, Any]] = json.loads(_part("presets.json"))
    return found


def lab_page(
    run: Solution | None = None,
    *,
    title: str | None = None,
    samples: Sequence[str] | None = None,
) -> str:
    """The page "Charge your features" as one HTML text that loads nothing from anywhere.

    Without ``run`` it computes: a cell of two modalities, each a salt that dissociates into a
    cation and an anion, with the schemes of :class:`pnpfusion.PNP`, `AsymptoticPreserving`,
    `Picard` and `Anderson`; after as many steps its states are those of pnpfusion to round-off.
    With ``run`` it plays that run with a time slider, its numbers in single precision and thinned
    where they would make the page larger than 500 kB.

    Args:
        run: a run of a PNP cell of one space axis, ``(T, *batch, species, cells)``.
        title: what the page says the run is.
        samples: names of the samples of the flattened batch; None counts them.

    Raises:
        ValueError: ``run`` is not such a run, or ``samples`` are not as many.
    """
    given: dict[str, Any]
    if run is None:
        given = {"presets": presets()}
    else:
        from pnpfusion.visualize.lab.recording import recording

        given = {"run": recording(run, title, samples)}
    page = _part("page.html")
    script = "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    told = json.dumps(given, allow_nan=False, separators=(",", ":"))  # in ASCII, whatever the names
    for name, text in (
        ("version", pnpfusion.__version__),
        ("style", _part("look.css")),
        ("script", f'(() => {{\n"use strict";\n{script}}})();'),
        ("given", told.replace("<", "\\u003c")),
    ):
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
