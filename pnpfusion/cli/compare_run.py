"""``pnpfusion compare``: make the plan, carry it out, and say what came of it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pnpfusion.cli.messages import (
    FAILED,
    INTERRUPTED,
    TERMINATED,
    CommandError,
    errors_end_the_command,
    paragraph,
    say,
)
from pnpfusion.cli.output_folder import claim, contents, save_picture
from pnpfusion.cli.sigterm import Sigterm
from pnpfusion.cli.train_setup import recipe_of
from pnpfusion.comparison.plan import Plan
from pnpfusion.comparison.runner import PLAN, Comparison, compare, facts_of, kept, tasks_of
from pnpfusion.comparison.set_plan import SetPlan
from pnpfusion.sweeps.folder import FolderError
from pnpfusion.training.loop import Stopped

FIGURE = "comparison.png"
DEFAULTS = {"data": ["htad"], "models": ["concat", "pnp", "deq"], "seeds": 5}
SHOWN = 5  #: failures that are named on the screen


def run(options: Namespace) -> int:
    """Do what the options say, and return the exit code."""
    with errors_end_the_command():
        plan = _plan(options)
        tasks = tasks_of(plan, facts_of(plan))
    given = options.resume or options.out
    former = given is not None and (Path(given) / PLAN).is_file()
    with claim(given, "compare", overwrite=former) as folder, Sigterm() as sigterm:
        if not options.quiet:
            print(_introduction(plan, len(tasks), kept(folder, tasks), folder), flush=True)
        try:
            found = compare(
                plan,
                folder,
                workers=options.workers,
                max_seconds=options.max_seconds,
                progress=not options.quiet,
            )
            _draw(found, folder)
        except KeyboardInterrupt as stop:
            told = sigterm.heard or (isinstance(stop, Stopped) and stop.terminated)
            sigterm.deaf = True
            say(
                f"pnpfusion compare: {'was told to end' if told else 'interrupted'}; "
                f"{kept(folder, tasks)} of {len(tasks)} cells are finished and kept in {folder}. "
                f"Go on with: pnpfusion compare --resume {folder}"
            )
            return TERMINATED if told else INTERRUPTED
        except FolderError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"{error}; what is finished is kept, and the same command goes on from there.",
                FAILED,
            ) from error
        return _conclude(options, found, folder)


def _plan(options: Namespace) -> Plan:
    if options.resume is not None:
        path = Path(options.resume) / PLAN
        if not path.is_file():
            raise CommandError(f"--resume {options.resume} holds no comparison: no {path}.")
        return Plan.load(path)
    typed = vars(options)
    if "plan" in typed:
        return Plan.load(typed["plan"])
    told = {name: typed.get(name, value) for name, value in DEFAULTS.items()}
    rest = {name: typed[name] for name in ("reference", "hidden", "width") if name in typed}
    return Plan(
        sets=tuple(SetPlan(text, typed.get("folds")) for text in told["data"]),
        models=tuple(told["models"]),
        seeds=tuple(range(told["seeds"])),
        recipe=recipe_of(options),
        tuning=_tuning(typed.get("tune", [])),
        **rest,
    )


def _tuning(typed: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """All combinations of the values."""
    listed: dict[str, list[Any]] = {}
    for text in typed:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not name or not equals or name in listed:
            raise ValueError(f"--tune got {text!r}, wanted NAME=VALUE,VALUE,... once for a name.")
        listed[name] = [_value(one.strip()) for one in values.split(",")]
    return tuple(dict(zip(listed, some, strict=True)) for some in product(*listed.values()))


def _value(text: str) -> Any:
    """A number, none, or a word."""
    if text == "none":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _introduction(plan: Plan, count: int, done: int, folder: Path) -> str:
    sets = ", ".join(
        one.data + (f" ({one.parts} folds)" if one.parts > 1 else "") for one in plan.sets
    )
    tuned = f", {len(plan.tuning)} variations each" if len(plan.tuning) > 1 else ""
    text = f"{', '.join(plan.models)}{tuned}, on {sets}; {len(plan.seeds)} seeds: {count} cells" + (
        f", of which {folder} has {done}." if done else "."
    )
    return paragraph(text)


def _draw(found: Comparison, folder: Path) -> None:
    if not any(row.measures for one in found.sets for row in one.rows):
        return
    from pnpfusion import visualize

    save_picture(visualize.plot_comparison(found.sets), folder / FIGURE)


def _conclude(options: Namespace, found: Comparison, folder: Path) -> int:
    if not options.quiet:
        print(found.table)
        print(contents(folder))
    if not found.failures:
        return 0
    for cell, reason in [*found.failures.items()][:SHOWN]:
        say(f"pnpfusion compare: failed: {cell}: {reason}")
    say(
        f"pnpfusion compare: {len(found.failures)} cells failed, all named in "
        f"{folder / 'comparison.json'}; --resume {folder} tries them again."
    )
    return FAILED
