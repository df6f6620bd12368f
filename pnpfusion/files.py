"""Files that are there as a whole, or as they were before; nobody ever finds half of one."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def whole(path: Path, ending: str = "") -> Iterator[Path]:
    """A place beside ``path`` to write to; at the end of the ``with`` it takes that name.

    Where anything goes wrong it is taken away, and what was there before still is. A process that
    is killed leaves ``.NAME.PID.part``, which the next one that writes this file takes away. Who
    may read the file is as for any new one.

    Args:
        path: what the file is to be called.
        ending: of the place, for those who go by it.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part{ending}")
    try:
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)
        part.replace(path)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
            if not _lives(left.name.removeprefix(f".{path.name}.").partition(".")[0]):
                left.unlink(missing_ok=True)
    except OSError as error:  # of the place beside, or of none where a write failed
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _lives(number: str) -> bool:
    """Whether a process of this number is at work here, as far as can be told."""
    if sys.platform == "win32" or not number.isdecimal():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is on the disk as a whole, or what was there before still is.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    with whole(path) as part, part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], key: str, header: str) -> None:
    """Write tensors and a text under ``key`` as a safetensors file, as a whole or not at all.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_whole(path, save(plain, metadata={key: header}))


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
