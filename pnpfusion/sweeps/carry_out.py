"""How a sweep is carried out: each process takes its share, and the last step joins all parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pnpfusion.sweeps.cases import Case, in_blocks, name_of, varying
from pnpfusion.sweeps.crew import Crew, LostProcess
from pnpfusion.sweeps.records import Record, read, read_header, write
from pnpfusion.sweeps.result import PARTS, RESULT, write_tables

#: Runs a block of cases and returns a record of each, in their order.
Work = Callable[[list[Case]], Sequence[Record]]
Report = Callable[[int, int], None]  #: told how many of how many blocks of our share are done


class SweepError(RuntimeError):
    """A sweep could not be finished; what was finished of it is kept."""


def carry_out(
    work: Work,
    cases: Sequence[Case],
    folder: Path,
    crew: Crew,
    *,
    alike: Sequence[str],
    stack: int,
    shard: tuple[int, int] | None,
    report: Report | None = None,
) -> Path | None:
    """Run what is not yet finished of our share; then, without a shard, join all into one file.

    Shares are dealt like cards: block b of :func:`in_blocks` goes to shard b mod n, and within it
    to the processes in turn. Finished blocks are files of their own until the end.

    Returns:
        The result file; None of a shard.

    Raises:
        SweepError: a block raised an exception, or another process died.
    """
    parts = folder / PARTS
    parts.mkdir(parents=True, exist_ok=True)
    share = dealt(in_blocks(cases, alike, stack), shard)
    mine = share[crew.rank :: crew.size]
    known = finished(folder)
    for done, block in enumerate(mine):
        if report is not None:
            report(done, len(mine))
        waiting = [cases[place] for place in block if name_of(cases[place]) not in known]
        if waiting:
            try:
                records = work(waiting)
                write(parts / f"{name_of(waiting[0])}.safetensors", records)
            except Exception as error:
                shown = {name: waiting[0].get(name) for name in varying(cases)}
                raise SweepError(
                    f"{_who(crew)}failed at cases {block} of {len(cases)}, which begin with "
                    f"{shown}: {type(error).__name__}: {str(error).rstrip('.')}. "
                    f"{_kept(folder, cases)}"
                ) from error
    if report is not None:
        report(len(mine), len(mine))
    try:
        crew.meet()
        if shard is not None:
            return None
        if crew.rank == 0:
            _join(cases, folder)
        crew.meet()
    except LostProcess as error:
        raise SweepError(
            f"{_who(crew)}lost another process, which died: {_laggards(share, cases, folder, crew)}"
            f" {_kept(folder, cases)}"
        ) from error
    return folder / RESULT


def dealt(blocks: Sequence[list[int]], shard: tuple[int, int] | None) -> list[list[int]]:
    """The blocks of a shard ``(k, n)``, every n-th from the k-th; all without one."""
    k, n = shard or (0, 1)
    return list(blocks[k::n])


def finished(folder: Path) -> dict[str, Path]:
    """Which cases a folder has already, by name, and in which file each is."""
    found: dict[str, Path] = {}
    for path in [folder / RESULT, *sorted((folder / PARTS).glob("*.safetensors"))]:
        try:
            found |= dict.fromkeys(read_header(path).names, path)
        except FileNotFoundError:
            continue
        except ValueError as error:
            warnings.warn(f"{error} Its cases are run again.", stacklevel=2)
    return found


def kept(folder: Path, cases: Sequence[Case]) -> int:
    """How many of the cases a folder has already."""
    known = finished(folder)
    return sum(name_of(case) in known for case in cases)


def _kept(folder: Path, cases: Sequence[Case]) -> str:
    return (
        f"What was finished is kept: {kept(folder, cases)} of {len(cases)} cases, in {folder}. "
        f"The same call again goes on from there."
    )


def _who(crew: Crew) -> str:
    return "the sweep " if crew.size == 1 else f"rank {crew.rank} of {crew.size} "


def _laggards(share: Sequence[list[int]], cases: Sequence[Case], folder: Path, crew: Crew) -> str:
    """Who has not finished, by what is missing."""
    known = finished(folder)
    names = [[name_of(cases[place]) for place in block] for block in share]
    missing = {
        rank: sum(name not in known for block in names[rank :: crew.size] for name in block)
        for rank in range(crew.size)
    }
    late = [f"rank {rank} ({n} cases left)" for rank, n in missing.items() if n]
    return f"not finished: {', '.join(late)}." if late else "all had finished their cases."


def _join(cases: Sequence[Case], folder: Path) -> None:
    """Make one file of all parts; what it does not hold of other cases stays in the parts."""
    result, parts = folder / RESULT, folder / PARTS
    names = [name_of(case) for case in cases]
    known = finished(folder)
    if missing := [place for place, name in enumerate(names) if name not in known]:
        raise SweepError(
            f"cases {missing[:8]} of {len(cases)} were finished by other processes but are not in "
            f"{folder}; all processes must write to the same folder, on a disk that they share."
        )
    former = read_header(result).names if result in known.values() else ()
    if former != tuple(names):
        records: dict[str, Record] = {}
        for path in {known[name]: None for name in names}:
            try:
                records |= read(path, [name for name in names if known[name] == path])
            except ValueError as error:
                raise SweepError(f"{error} Without it, the same call runs its cases.") from None
        write(result, [records[name] for name in names])
    write_tables(folder, read_header(result))
    for path in parts.glob(".*.part"):
        path.unlink(missing_ok=True)
    for path in parts.glob("*.safetensors"):
        if _held(path) <= set(names):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        parts.rmdir()


def _held(path: Path) -> set[str]:
    """The cases of a file; none of a damaged one."""
    try:
        return set(read_header(path).names)
    except (FileNotFoundError, ValueError):
        return set()
