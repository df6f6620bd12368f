"""``pnpfusion simulate``: run, and save before anything else can go wrong."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from pnpfusion.cli.messages import (
    FAILED,
    INTERRUPTED,
    errors_end_the_command,
    paragraph,
    quieten,
    say,
)
from pnpfusion.cli.output_folder import clear, contents
from pnpfusion.cli.simulate_inputs import Experiment, experiment
from pnpfusion.cli.simulate_results import MADE, RUN, draw, summary_of, table
from pnpfusion.cli.summary import write_summary
from pnpfusion.run.simulate import simulate
from pnpfusion.solution import Interrupted


def run(options: Namespace, folder: Path) -> int:
    """Do what the options say, and return the exit code."""
    loud = not options.quiet
    if not loud:
        quieten()
    with errors_end_the_command():
        setup = experiment(options)
        if loud:
            print(_introduction(setup), flush=True)
        start = time.perf_counter()
        interrupted = False
        try:
            solution = simulate(
                setup.cell, setup.c0, setup.times, stepper=setup.stepper, progress=loud
            )
        except Interrupted as stop:
            solution, interrupted = stop.solution, True
    seconds = time.perf_counter() - start
    if interrupted:
        say(
            f"pnpfusion simulate: interrupted at t = {float(solution.times[-1]):.3g} of "
            f"{options.duration:g}; what was computed goes to {folder}."
        )
    elif not solution.succeeded.all():
        say(
            f"pnpfusion simulate: the run failed: {_as_options(solution.outcome.value)}. What was "
            f"computed goes to {folder}."
        )
    try:
        with errors_end_the_command(FAILED):
            clear(folder, MADE)
            solution.save(folder / RUN)
        if loud:
            print(table(solution, seconds))
        draw(solution, setup, folder, gif=not options.no_gif, progress=loud)
        write_summary(folder, summary_of(solution, setup, folder, seconds))
    except KeyboardInterrupt:
        say(f"pnpfusion simulate: interrupted while drawing; what was made is in {folder}.")
        return INTERRUPTED
    if loud:
        print(contents(folder))
    if interrupted:
        return INTERRUPTED
    return 0 if solution.succeeded.all() else FAILED


def _introduction(setup: Experiment) -> str:
    """What moves, where it comes from and on what terms, in a few lines."""
    features, cell = setup.features, setup.cell
    dims = ", ".join(f"{name} {n}" for name, n in features.dims.items())
    which = f"{len(features)} of {setup.size} samples"
    if len(features) == 1:
        which = f"sample {setup.settings['sample']} of {setup.size}"
        if features.target is not None and features.task == "classes":
            which += f" ({features.class_names[int(features.target[0])]})"
    scaled = "as they are" if setup.settings["raw"] else "standardised over the set"
    lines = [f"{features.name}, {which}; features {scaled}: {dims}."]
    lines += [f"From {features.source}."] if features.source else []
    lines += [f"Terms of use: {features.terms}"] if features.terms else []
    voltage = setup.settings["voltage"]
    ends = setup.settings["boundary"] if voltage is None else f"electrodes {voltage:g} kT/e apart"
    lines.append(
        f"{len(cell.species)} species in {cell.grid.shape[0]} cells, Debye length "
        f"{setup.settings['debye']:g} L, {ends}, until t = {setup.settings['duration']:g} L²/D."
    )
    return "\n".join(map(paragraph, lines))


def _as_options(message: str) -> str:
    """What the library says of its arguments, in the words of options: `--max-steps`."""
    return message.replace("`max_steps`", "`--max-steps`").replace("`rtol`", "`--rtol`")
