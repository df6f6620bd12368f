"""Files that are there as a whole, or as they were before; nobody ever finds half of one."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def whole(path: Path, ending: str = "") -> Iterator[Path]:
    """A place beside ``path`` to write to; at the end of the ``with`` it takes that name.

    Where anything goes wrong it is taken away, and what was there before still is. A process that
    is killed leaves ``.NAME.PID.part``, which the next one that writes this file takes away: the
    place is locked while it is written to, and the system frees what a dead process held. Who may
    read the file is as for any new one.

    Args:
        path: what the file is to be called.
        ending: of the place, for those who go by it.

    Raises:
        OSError: the disk is full, or the folder may not be written to; it names ``path``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part{ending}")
    try:
        with _locked(part):
            try:
                mode = part.stat().st_mode
                yield part
                part.chmod(mode)
                part.replace(path)
            except BaseException:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.errno and (error.filename is None or str(error.filename) == str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise  # it is about another file, or says in words of its own what is wrong
    with suppress(OSError):  # the file is there
        _take_away_leftovers(path, ending)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which is on the disk as a whole then, or what was there before still is.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    with whole(path) as part, part.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as :func:`whole_file` does.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    with whole_file(path) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """See that names of files in a folder are on the disk, where the system knows how."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON for people to read."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def read_json(path: str | Path, named: str = "") -> Any:
    """What a JSON file holds.

    Args:
        path: the file.
        named: what messages call it; its path if not given.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        told = type(error)(f"{named or path} cannot be read: {error.strerror}; check the path.")
        told.errno = error.errno
        raise told from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{named or path} is no JSON: {error}.") from None


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Make a file, and hold it so that nobody takes it for a dead one's, where there are locks."""
    if sys.platform == "win32":
        part.touch()
        yield
        return
    import fcntl

    with ExitStack() as stack:
        while True:
            file = stack.enter_context(part.open("ab"))
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            with suppress(FileNotFoundError):  # it was taken away before it was locked
                if os.path.samestat(part.stat(), os.fstat(file.fileno())):
                    break
        yield


def _take_away_leftovers(path: Path, ending: str) -> None:
    """Take away places beside ``path`` that nobody holds."""
    if sys.platform == "win32":
        return
    import fcntl

    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.part{re.escape(ending)}")
    for left in path.parent.iterdir():
        if name.fullmatch(left.name):
            with suppress(OSError), left.open("ab") as file:  # it is held, or another user's
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink(missing_ok=True)
