"""Where compiled kernels are kept, and what is said while one is compiled."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock, Timer, local
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache

LOGGER = logging.getLogger(__name__)
PATIENCE = 1.0  #: seconds that a kernel may compile without a word
_CONFIG: Any = numba.config  # whose type does not know its entries
_CONFIG_LOCK = Lock()
_register: Any = event.register


@cache
def kernel_folder() -> Path:
    """The folder of these sources' kernels, among the user's caches.

    It bears a digest of all the sources here: Numba itself compiles a function anew when its own
    file changes, not when one that it calls does.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path("~/.cache").expanduser()
    return base / "pnpfusion" / "numba" / digest.hexdigest()[:16]


class KernelCache(FunctionCache):
    """Numba's own, but for processes that save at once: one might take another's file for its own.

    Where nothing can be written, or no longer, kernels stay in memory.
    """

    def save_overload(self, sig: Any, data: Any) -> None:
        """See Numba."""
        try:
            with _locked(Path(self.cache_path)):
                super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError:
            _not_kept(self.cache_path)


def keep_compiled(dispatcher: Any) -> None:
    """Keep what ``dispatcher`` compiles in :func:`kernel_folder`, or where NUMBA_CACHE_DIR says."""
    with _CONFIG_LOCK:
        given = _CONFIG.CACHE_DIR
        try:
            _CONFIG.CACHE_DIR = given or str(kernel_folder())
            kept = KernelCache(dispatcher.py_func)  # type: ignore[no-untyped-call]
            if Path(kept.cache_path).is_relative_to(_CONFIG.CACHE_DIR):
                dispatcher._cache = kept
            else:
                _not_kept(_CONFIG.CACHE_DIR)
        except RuntimeError:  # there is no home, or nothing can be written
            _not_kept(_CONFIG.CACHE_DIR or "~, for there is none")
        finally:
            _CONFIG.CACHE_DIR = given


@cache
def _not_kept(folder: str) -> None:
    """Say it, once of each folder."""
    LOGGER.warning(
        "compiled kernels cannot be kept in %s, so every process compiles them anew; "
        "NUMBA_CACHE_DIR may name another folder",
        folder,
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone among all processes that save in ``folder``."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (folder / "lock").open("wb") as file:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Compiling(local):
    """What one thread compiles."""

    def __init__(self) -> None:
        self.depth, self.timer = 0, Timer(0, lambda: None)


class _Teller(event.Listener):
    """Says in the log that a kernel is being compiled, if that takes long."""

    def __init__(self) -> None:
        self.here = _Compiling()

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if not function.__module__.startswith(__package__ or ""):
            return
        here = self.here
        here.depth += 1  # those that it calls are compiled meanwhile
        if here.depth == 1:
            told = "compiling %s for this machine, once", function.__name__
            here.timer = Timer(PATIENCE, LOGGER.warning, told)
            here.timer.daemon = True
            here.timer.start()

    def on_end(self, event: Any) -> None:
        if not event.data["dispatcher"].py_func.__module__.startswith(__package__ or ""):
            return
        here = self.here
        here.depth -= 1
        if here.depth == 0:
            here.timer.cancel()


_register("numba:compile", _Teller())
