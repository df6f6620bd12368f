"""What a training says while it runs: a bar, a line of JSON an epoch, TensorBoard if asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from pnpfusion.files import write_whole
from pnpfusion.solvers.faq import Faq
from pnpfusion.training.checkpoint import TrainingError

METRICS = "metrics.jsonl"


class Report:
    """Where an epoch's numbers go; for a ``with``.

    Args:
        folder: of metrics.jsonl; None writes none.
        progress: whether to show a bar.
        tensorboard: whether to write events for it beside.
        steps: of the whole training.

    Raises:
        ImportError: TensorBoard is asked for and not installed.
        ValueError: it is asked for without a folder.
    """

    def __init__(
        self, folder: Path | None, *, progress: bool, tensorboard: bool, steps: int
    ) -> None:
        self.folder, self.steps = folder, steps
        self._progress, self._tensorboard = progress, tensorboard
        self._stack = ExitStack()
        self._events: Any = None
        self._bar: Any = None
        if tensorboard:
            if folder is None:
                raise ValueError("`tensorboard` writes into a `folder`; name one.")
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ImportError(
                    "`tensorboard` needs the package of that name, which is not installed: "
                    "pip install 'pnpfusion[tensorboard]'. metrics.jsonl is written without it"
                    f" {Faq.MISSING_PACKAGE}."
                ) from None
            self._writer = SummaryWriter

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, history: Sequence[Mapping[str, Any]], done: int) -> None:
        """Say what was done before: the rows of former epochs, and how many steps."""
        if self.folder is not None:
            self._write(history)
        if self._tensorboard:
            self._events = self._stack.enter_context(
                self._writer(str(self.folder / "tensorboard"), purge_step=len(history) + 1)
                if self.folder is not None
                else ExitStack()
            )
        if self._progress:
            from tqdm import tqdm

            bar = tqdm(total=self.steps, initial=done, unit="step", dynamic_ncols=True)
            self._bar = self._stack.enter_context(bar)
            if history:
                self._show(history[-1])

    def step(self, epoch: int) -> None:
        """A step of this epoch is done."""
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {epoch}", refresh=False)
            self._bar.update()

    def epoch(self, history: Sequence[Mapping[str, Any]]) -> None:
        """An epoch is done, and its row is the last of these.

        Raises:
            TrainingError: the row cannot be written.
        """
        row = history[-1]
        if self.folder is not None:
            self._append(row)
        if self._events is not None:
            for name, value in _flat(row).items():
                self._events.add_scalar(name, value, row["epoch"])
        if self._bar is not None:
            self._show(row)

    def aside(self) -> AbstractContextManager[None]:
        """While something else is said, the bar is out of its way."""
        if self._bar is None:
            return nullcontext()
        aside: AbstractContextManager[None] = self._bar.external_write_mode(file=sys.stderr)
        return aside

    def end(self) -> None:
        """All is done, maybe before all steps were."""
        if self._bar is not None:
            self._bar.total = self._bar.n
            self._bar.refresh()

    def _show(self, row: Mapping[str, Any]) -> None:
        told = {"loss": f"{row['train']['loss']:.3f}"}
        for name in row["valid"]:
            if name == row["score"]:
                told[f"valid {name}"] = f"{row['valid'][name]:.3f}"
        if row["health"].get("unconverged", 0) > 0:
            told["unconverged"] = f"{row['health']['unconverged']:.1%}"
        self._bar.set_postfix(told, refresh=True)

    def _write(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Rows of epochs that are gone on from; what was after them is forgotten."""
        if self.folder is None:
            return
        lines = "".join(_line(row) for row in history)
        try:
            write_whole(self.folder / METRICS, lines.encode())
        except OSError as error:
            raise _unwritten(self.folder, error) from error

    def _append(self, row: Mapping[str, Any]) -> None:
        if self.folder is None:
            return
        try:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(_line(row))
        except OSError as error:
            raise _unwritten(self.folder, error) from error


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _flat(row: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by names such as valid/accuracy."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{inner}": number for inner, number in value.items()}
        elif isinstance(value, float):
            found[name] = value
    return found


def _unwritten(folder: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"{folder / METRICS} cannot be written: {error.strerror or error}. The last checkpoint is "
        f"intact; make room there, or make the folder writable, and the same call goes on from it."
    )
