"""``pnpfusion simulate --sweep FILE``: every case of a file, in one process or several."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pnpfusion.cli.messages import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    TERMINATED,
    CommandError,
    paragraph,
    say,
)
from pnpfusion.cli.sigterm import Sigterm
from pnpfusion.cli.simulate_block import Blocks
from pnpfusion.cli.simulate_cases import ALIKE, cases_of
from pnpfusion.cli.together import in_all
from pnpfusion.sweeps.carry_out import SweepError, carry_out, dealt, kept
from pnpfusion.sweeps.cases import Case, in_blocks
from pnpfusion.sweeps.crew import Crew, LostProcess, assembled
from pnpfusion.sweeps.folder import LOCK, FolderError, claimed
from pnpfusion.sweeps.progress import progress_bar
from pnpfusion.sweeps.result import PARTS, RESULT, SUMMARY, TABLE, Sweep


def run_all(options: Namespace) -> int:
    """Do what the options say, and return the exit code."""
    try:
        with Sigterm() as sigterm, assembled() as crew:
            return _run(options, crew, sigterm)
    except LostProcess as error:
        raise CommandError(str(error), FAILED) from error


def _run(options: Namespace, crew: Crew, sigterm: Sigterm) -> int:
    folder = Path(options.out or f"runs/sweep-{Path(options.sweep).stem}")

    def set_up() -> tuple[list[Case], Blocks]:
        cases = cases_of(options)
        blocks = Blocks(cases)
        mine = dealt(in_blocks(cases, ALIKE, options.stack), options.shard)[crew.rank :: crew.size]
        blocks.check([cases[place] for block in mine for place in block])
        return cases, blocks

    cases, blocks = in_all(crew, set_up)
    in_all(crew, lambda: _check(folder, options))
    with ExitStack() as stack:
        try:
            stack.enter_context(
                claimed(folder, cases, crew, shard=options.shard, overwrite=options.overwrite)
            )
        except (FolderError, OSError) as error:
            if crew.rank > 0:
                raise SystemExit(BAD_INPUT) from error  # the first one says why
            raise CommandError(str(error)) from error
        return _carry_out(options, crew, sigterm, cases, blocks, folder)


def _carry_out(
    options: Namespace,
    crew: Crew,
    sigterm: Sigterm,
    cases: Sequence[Case],
    blocks: Blocks,
    folder: Path,
) -> int:
    loud = not options.quiet and crew.rank == 0
    before = kept(folder, cases)
    if loud:
        print(_introduction(options, cases, crew, before, folder), flush=True)
    bar = "sweep" if crew.size == 1 else f"sweep, rank 0 of {crew.size}"
    try:
        with progress_bar(loud, bar) as report:
            result = carry_out(
                blocks.solve,
                cases,
                folder,
                crew,
                alike=ALIKE,
                stack=options.stack,
                shard=options.shard,
                report=report,
            )
    except KeyboardInterrupt:
        told, sigterm.deaf = sigterm.heard, True
        why = "was told to end (SIGTERM), as when another rank died" if told else "was interrupted"
        say(
            f"pnpfusion simulate: {_who(crew)} {why}; {kept(folder, cases)} of {len(cases)} "
            f"cases are finished and kept in {folder}. The same command again goes on from there."
        )
        return TERMINATED if told else INTERRUPTED
    except SweepError as error:
        sigterm.deaf = True
        if isinstance(error.__cause__, MemoryError | OSError | LostProcess):
            raise CommandError(str(error), FAILED) from error
        raise
    if loud:
        print(_conclusion(options, result, folder))
    if options.strict and result is not None and not Sweep.load(result).succeeded.all():
        return FAILED
    return 0


def _check(folder: Path, options: Namespace) -> None:
    """Refuse a folder with something else in it."""
    if options.overwrite and options.shard is not None:
        raise CommandError(
            "--overwrite would take away what other shards have finished; empty the folder by hand "
            "before the first of them, and leave it out."
        )
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"--out {folder} is a file, wanted a folder; choose another name.")
    found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if found and not found & {PARTS, RESULT, LOCK}:
        raise CommandError(
            f"--out {folder} is not empty and holds no sweep, wanted a new or empty folder, or one "
            f"of this sweep; choose another one."
        )


def _who(crew: Crew) -> str:
    return "the sweep" if crew.size == 1 else f"rank {crew.rank} of {crew.size}"


def _introduction(
    options: Namespace, cases: Sequence[Case], crew: Crew, before: int, folder: Path
) -> str:
    parts = [f"{len(cases)} cases of {options.sweep}"]
    if options.shard is not None:
        parts.append(f"share {options.shard[0]} of {options.shard[1]}")
    if crew.size > 1:
        parts.append(f"{crew.size} processes")
    if before:
        parts.append(f"{before} are finished already in {folder}")
    return paragraph(", ".join(parts) + ".")


def _conclusion(options: Namespace, result: Path | None, folder: Path) -> str:
    if result is None:
        k, n = options.shard
        return (
            f"share {k} of {n} is finished; once all are, the command without --shard joins them."
        )
    sweep = Sweep.load(result)
    failed = int((~sweep.succeeded).sum())
    how = f"{failed} without an answer, see `outcome` in {TABLE}" if failed else "all solved"
    return paragraph(f"{len(sweep.cases)} cases, {how}; in {folder}: {RESULT}, {SUMMARY}, {TABLE}")
