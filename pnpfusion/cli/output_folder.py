"""The folder a command writes into: new, or emptied of a former run, never overwritten silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pnpfusion.cli.messages import CommandError, errors_end_the_command, paragraph
from pnpfusion.files import whole
from pnpfusion.sweeps.folder import LOCK, FolderError, locked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOME = Path("runs")


@contextmanager
def claim(out: str | None, command: str, *, overwrite: bool) -> Iterator[Path]:
    """The folder to write into; one that was made here and stays empty is taken away again.

    Args:
        out: what the user asked for; None is a new folder ``runs/<command>-001``, counted up.
        command: the command's name.
        overwrite: whether files of a former run may go.

    Raises:
        CommandError: the folder holds something already, is a file, or cannot be made.
    """
    with errors_end_the_command():
        folder, is_new = (_numbered(command), True) if out is None else _asked(out, overwrite)
    try:
        yield folder
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
                if out is None:
                    HOME.rmdir()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only run that works in a folder.

    Raises:
        CommandError: another one does, or nothing can be written there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, shared=False, what="run"))
        except (FolderError, OSError) as error:
            raise CommandError(str(error)) from error
        yield


def clear(folder: Path, made: Sequence[str]) -> None:
    """Take away the files that a former run made, and nothing else."""
    for pattern in made:
        for path in sorted(folder.glob(pattern)):
            path.unlink()


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture, as a whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with whole(path, path.suffix) as part:
        figure.savefig(part)


def contents(folder: Path) -> str:
    """What a command has made, for the screen."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return paragraph(f"in {folder}: {', '.join(names)}")


def _numbered(command: str) -> Path:
    try:
        HOME.mkdir(exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"the folder {HOME} cannot be made here: {error.strerror}; choose a folder by --out."
        ) from None
    taken = [path.name.removeprefix(f"{command}-") for path in HOME.glob(f"{command}-*")]
    number = max((int(text) for text in taken if text.isdecimal()), default=0)
    while True:  # another run may take a number in between
        number += 1
        with suppress(FileExistsError):
            folder = HOME / f"{command}-{number:03d}"
            folder.mkdir()
            return folder


def _asked(out: str, overwrite: bool) -> tuple[Path, bool]:
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"--out {out} is a file, wanted a folder; choose another name.")
    if not folder.exists():
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise CommandError(
                f"--out {out} cannot be made: {error.strerror}; choose another folder."
            ) from None
        return folder, True
    if any(not _is_left_over(path) for path in folder.iterdir()) and not overwrite:
        from pnpfusion.solvers.faq import Faq

        raise CommandError(
            f"--out {out} is not empty, wanted a new or empty folder; choose another one, or add "
            f"--overwrite to replace the files of a former run in it {Faq.FILE_IS_THERE}."
        )
    return folder, False


def _is_left_over(path: Path) -> bool:
    """Whether it is what a command leaves that was killed before it had made anything."""
    return path.name == LOCK or (path.name.startswith(".") and path.suffix == ".part")
