"""Cells one after another, or several at once in processes of their own."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import torch

from pnpfusion.comparison.measure import measure
from pnpfusion.comparison.plan import Cell, Plan

Found = dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """Why a cell has no result."""

    reason: str


class TimeUpError(RuntimeError):
    """A cell took longer than it may."""


def carry_out(
    plan: Plan, cells: Sequence[Cell], *, workers: int, max_seconds: float | None
) -> Iterator[tuple[int, Found | Failure]]:
    """The place of each cell and what it found, as they are finished; one thread each.

    Args:
        plan: of which they are.
        cells: what to do, in this order.
        workers: processes; 1 does it in this one.
        max_seconds: that a cell may take; where there are no alarms (Windows) it may take longer.
    """
    if workers == 1 or len(cells) < 2:
        for place, cell in enumerate(cells):
            yield place, attempt(plan, cell, max_seconds)
        return
    with _crew(plan, min(workers, len(cells)), max_seconds) as crew:
        yield from _deal(crew, cells)


def attempt(plan: Plan, cell: Cell, max_seconds: float | None) -> Found | Failure:
    """What a cell finds; whatever goes wrong in it is its own failure."""
    try:
        with _one_thread(), _at_most(max_seconds):
            return measure(plan, cell)
    except Exception as error:  # of one cell, and told as such
        return Failure(" ".join(f"{type(error).__name__}: {error}".split()))


class _Worker:
    """A process that does one cell after the other."""

    def __init__(self, plan: Plan, max_seconds: float | None) -> None:
        self.plan, self.max_seconds = plan, max_seconds
        self.place: int | None = None  #: of the cell it works at
        self.begin()

    def begin(self) -> None:
        """Start the process, or another in its place."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, self.plan, self.max_seconds), daemon=True
        )
        with _unheard():  # by the process too, from its first moment
            self.process.start()
        theirs.close()

    def give(self, place: int, cell: Cell) -> None:
        """Let it do a cell."""
        self.place = place
        with suppress(BrokenPipeError):  # it has died; that is seen when its answer is read
            self.pipe.send(cell)

    def take(self) -> tuple[int, Found | Failure]:
        """The place of its cell, and what it found; a dead one is replaced."""
        if self.place is None:
            raise RuntimeError("a worker without a cell has nothing to say.")
        place, self.place = self.place, None
        try:
            found: Found | Failure = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self.pipe.close()
            self.begin()
            return place, Failure(f"its process ended {how}")
        return place, found

    def end(self) -> None:
        """Stop it at once; it writes nothing that could be left half."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _crew(plan: Plan, size: int, max_seconds: float | None) -> Iterator[list[_Worker]]:
    crew: list[_Worker] = []
    try:
        crew.extend(_Worker(plan, max_seconds) for _ in range(size))
        yield crew
    finally:
        for worker in crew:
            worker.end()


def _deal(crew: Sequence[_Worker], cells: Sequence[Cell]) -> Iterator[tuple[int, Found | Failure]]:
    waiting = iter(enumerate(cells))
    for worker, (place, cell) in zip(crew, waiting, strict=False):
        worker.give(place, cell)
    while busy := {worker.pipe: worker for worker in crew if worker.place is not None}:
        for pipe in wait([*busy]):
            worker = busy[pipe]  # type: ignore[index]
            at, found = worker.take()
            if (following := next(waiting, None)) is not None:
                worker.give(*following)
            yield at, found


def _serve(pipe: Connection, plan: Plan, max_seconds: float | None) -> None:
    """A worker's life; it ends with the process that began it."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    while True:
        try:
            cell = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(plan, cell, max_seconds))


@contextmanager
def _unheard() -> Iterator[None]:
    """Ctrl-C and SIGTERM, which go to a group of processes, are for the first of them to answer."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # or the first process starts it, which unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Of torch, and of what scikit-learn computes with where it is installed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ExitStack() as stack:
            if importlib.util.find_spec("threadpoolctl") is not None:
                from threadpoolctl import threadpool_limits

                stack.enter_context(threadpool_limits(1))
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    here = threading.current_thread() is threading.main_thread()
    if seconds is None or not here or not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeUpError(f"not done after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
