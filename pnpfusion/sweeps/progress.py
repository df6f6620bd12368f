"""How far a sweep is, on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(wanted: bool, words: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar that is told how many of how many blocks are done; None if none is wanted."""
    if not wanted:
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit="call", desc=words) as bar:

        def report(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)
            bar.refresh()

        yield report
