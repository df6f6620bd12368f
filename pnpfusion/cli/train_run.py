"""``pnpfusion train``: learn, judge, and say how good it is."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pnpfusion.cli.messages import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    TERMINATED,
    CommandError,
    errors_end_the_command,
    quieten,
    say,
)
from pnpfusion.cli.output_folder import claim, clear, contents
from pnpfusion.cli.summary import write_summary
from pnpfusion.cli.together import in_all
from pnpfusion.cli.train_results import MADE, draw, introduction, judge, summary_of, table
from pnpfusion.cli.train_setup import (
    SETTINGS,
    Setup,
    device_of,
    read_settings,
    set_up,
    settings_of,
    write_settings,
)
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning
from pnpfusion.sweeps.crew import Crew, LostProcess, assembled
from pnpfusion.sweeps.folder import FolderError
from pnpfusion.training.checkpoint import CheckpointError, TrainingError
from pnpfusion.training.loop import Stopped, Trained, train


def run(options: Namespace) -> int:
    """Do what the options say, and return the exit code."""
    if options.quiet:
        quieten()
    try:
        with assembled() as crew:
            setup = in_all(crew, lambda: _set_up(options))
            with _folder(options, crew) as folder:
                in_all(crew, lambda: _begin(options, crew, folder, setup))
                return _run(options, crew, folder, setup)
    except LostProcess as error:
        raise CommandError(
            f"another process of the training has died ({error}); the same command goes on from "
            f"the last checkpoint.",
            FAILED,
        ) from error


def _run(options: Namespace, crew: Crew, folder: Path, setup: Setup) -> int:
    loud = not options.quiet and crew.rank == 0
    if loud:
        print(introduction(setup), flush=True)
    try:
        trained = _train(options, folder, setup, loud)
    except Stopped as stop:
        if crew.rank == 0:
            say(
                f"pnpfusion train: stopped in {stop.at}; the checkpoint is in {folder}. "
                f"Go on with: pnpfusion train --resume {folder}"
            )
        return TERMINATED if stop.terminated else INTERRUPTED
    except KeyboardInterrupt:
        if crew.rank == 0:
            say(
                f"pnpfusion train: interrupted at once; the last checkpoint stands. Go on with: "
                f"pnpfusion train --resume {folder}"
            )
        return INTERRUPTED
    if crew.rank > 0:
        return 0
    try:
        with warnings.catch_warnings():  # health counts them
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = judge(trained.model, setup.data)
        if loud:
            print(table(trained, setup, found))
        with errors_end_the_command(FAILED):
            draw(trained, folder)
        write_summary(folder, summary_of(trained, setup, found))
    except KeyboardInterrupt:
        say(f"pnpfusion train: interrupted after training; the model is in {folder}.")
        return INTERRUPTED
    if loud:
        print(contents(folder))
    return 0


def _train(options: Namespace, folder: Path, setup: Setup, loud: bool) -> Trained:
    try:
        return train(
            setup.model,
            setup.data,
            setup.recipe,
            folder=folder,
            progress=loud,
            device=device_of(options.device),
            checkpoint_every=options.checkpoint_every,
            tensorboard=options.tensorboard,
        )
    except (CheckpointError, FolderError, ImportError) as error:
        raise CommandError(str(error), BAD_INPUT) from error
    except TrainingError as error:
        raise CommandError(str(error), FAILED) from error


def _set_up(options: Namespace) -> Setup:
    with errors_end_the_command():
        device_of(options.device)
        return set_up(settings_of(options))


@contextmanager
def _folder(options: Namespace, crew: Crew) -> Iterator[Path]:
    """Where to write: that of a former training, one that was asked for, or a new one."""
    given = options.resume or options.out
    if crew.rank > 0:  # the first one makes it, and says which it is
        if max(crew.meet()) > 0:
            raise SystemExit(BAD_INPUT)
        (number, *_) = crew.meet()
        yield Path(given) if given else Path("runs") / f"train-{number:03d}"
        return
    former = given is not None and (Path(given) / SETTINGS).is_file()
    try:
        context = claim(given, "train", overwrite=former or options.overwrite)
        folder = context.__enter__()
    except CommandError:
        crew.meet(1)
        raise
    crew.meet()
    crew.meet(0 if given else int(folder.name.removeprefix("train-")))
    try:
        yield folder
    finally:
        context.__exit__(None, None, None)


def _begin(options: Namespace, crew: Crew, folder: Path, setup: Setup) -> None:
    """Write down what is settled; refuse a folder where something else was."""
    if crew.rank > 0:
        return
    with errors_end_the_command():
        if options.overwrite:
            clear(folder, MADE)
        if not (folder / SETTINGS).is_file():
            _write_settings(folder, setup)
            return
    found = read_settings(folder, "--out")
    other = [name for name in setup.settings if found[name] != setup.settings[name]]
    if "recipe" in other:
        own, theirs = setup.settings["recipe"], found["recipe"]
        other.remove("recipe")
        other += [name for name in own if own[name] != theirs.get(name)]
    if other:
        raise CommandError(
            f"{folder} holds another training: {', '.join(other)} were others; choose another "
            f"--out, go on with it by --resume {folder}, or add --overwrite to begin anew."
        )


def _write_settings(folder: Path, setup: Setup) -> None:
    try:
        write_settings(folder, setup.settings)
    except OSError as error:
        raise CommandError(
            f"{folder} cannot be written to: {error.strerror}; choose another folder by --out, or "
            f"make this one writable."
        ) from error
