"""Where a training stands, on disk: all it takes to go on as if nothing had happened.

The folder holds ``checkpoint.safetensors`` and the one before it. A file is written beside, synced
and renamed, and carries a digest of all it holds, so that one is either whole or known not to be.
Its tensors are ``model.*``, ``best.*`` (the weights of the best epoch) and ``optimizer.*``; the
rest is JSON. Nothing in it is executed. What is random is no part of it; see
:mod:`pnpfusion.training.randomness`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

import pnpfusion
from pnpfusion.files import sync_folder
from pnpfusion.sealed_file import DamagedFile, pack, unpack
from pnpfusion.solvers.faq import Faq
from pnpfusion.training.tally import Tally

NAME, BEFORE = "checkpoint.safetensors", "checkpoint.previous.safetensors"
KEY, FORMAT = "pnpfusion_checkpoint", 1


class TrainingError(RuntimeError):
    """Training could not go on; what was kept before is intact."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from: damaged, or of another training."""


@dataclass
class Standing:
    """How far a training is."""

    epoch: int = 0  #: epochs that are finished
    step: int = 0  #: steps that are finished of the epoch after them
    tally: Tally = field(default_factory=Tally)  #: over these steps
    history: list[dict[str, Any]] = field(default_factory=list)  #: a row for each finished epoch
    best_epoch: int = 0  #: counted from 1; 0 before there is one
    seconds: float = 0.0  #: by the clock on the wall, in all calls so far
    finished: bool = False  #: whether nothing is left to do


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds."""

    standing: Standing
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]  #: of each parameter, in their order


def write(folder: Path, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one that was there becomes the one before it.

    Args:
        folder: where to.
        checkpoint: what is kept.
        identity: what makes it a checkpoint of this training: its model, recipe and data.

    Raises:
        TrainingError: it cannot be written. What was there is intact.
    """
    standing = checkpoint.standing
    header = {
        "format": FORMAT,
        "version": pnpfusion.__version__,
        "identity": dict(identity),
        "standing": {**vars(standing), "tally": standing.tally.to_json()},
    }
    tensors = {f"model.{name}": value for name, value in checkpoint.model.items()}
    tensors |= {f"best.{name}": value for name, value in checkpoint.best.items()}
    for place, state in checkpoint.optimizer.items():
        tensors |= {f"optimizer.{place}.{name}": value for name, value in state.items()}
    new = folder / f"{NAME}.new"
    try:
        pack(new, tensors, header, KEY)
        if (folder / NAME).exists():
            (folder / NAME).replace(folder / BEFORE)
        new.replace(folder / NAME)
        sync_folder(folder)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise TrainingError(
            f"the checkpoint of epoch {standing.epoch} cannot be written to {folder}: "
            f"{error.strerror or error}. The one before it is intact; make room there, or make the "
            f"folder writable, and the same call goes on from it."
        ) from error


def read(folder: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """The newest good checkpoint of a folder; None if there is none at all.

    Raises:
        CheckpointError: all there are are damaged, or of another training or version.

    Warns:
        UserWarning: the newest is damaged, and the one before it is used.
    """
    damaged = []
    for path in (folder / NAME, folder / BEFORE):
        try:
            tensors, header = unpack(path, KEY)
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            damaged.append(str(error))
            continue
        _check_identity(path, header, identity)
        checkpoint = _from_file(path, tensors, header)
        if damaged:
            warnings.warn(
                f"{damaged[0]}; {path.name}, of epoch {checkpoint.standing.epoch}, is good and is "
                f"gone on from.",
                stacklevel=2,
            )
        return checkpoint
    if damaged:
        raise CheckpointError(
            f"{'; '.join(damaged)}. There is no good one to go on from: copy it again from where "
            f"it is whole, or begin anew without it (`--overwrite`, `resume=False`)"
            f" {Faq.DAMAGED_FILE}."
        )
    return None


def remove(folder: Path) -> None:
    """Take checkpoints away, as where a training begins anew."""
    for path in [folder / NAME, folder / BEFORE, *leftovers(folder)]:
        path.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """Half-written files that a killed process left."""
    return [*folder.glob(".*.part"), *folder.glob(f"{NAME}.new")]


def _from_file(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Checkpoint:
    """What the tensors and the header of a file say.

    Raises:
        CheckpointError: they are whole, and still say nothing that this version understands.
    """
    try:
        told = dict(header["standing"])
        standing = Standing(**{**told, "tally": Tally.from_json(told["tally"])})
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimizer":
                place, _, what = rest.partition(".")
                optimizer.setdefault(int(place), {})[what] = value
            else:
                parts[part][rest] = value
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint that this version understands: {type(error).__name__} "
            f"{error}; begin anew without it (`--overwrite`, `resume=False`)."
        ) from None
    return Checkpoint(standing, parts["model"], parts["best"], optimizer)


def _check_identity(path: Path, header: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    anew = "choose another folder, or begin anew in this one (`--overwrite`, `resume=False`)"
    if header.get("format") != FORMAT or header.get("version") != pnpfusion.__version__:
        raise CheckpointError(
            f"{path} was written by pnpfusion {header.get('version')} in format "
            f"{header.get('format')}, this is {pnpfusion.__version__} with format {FORMAT}, which "
            f"would not go on to the same result; install that version, {anew} {Faq.OTHER_VERSION}."
        )
    found = header.get("identity")
    if found == wanted:
        return
    other = [] if isinstance(found, dict) else ["everything"]
    if isinstance(found, dict):
        for part, own in wanted.items():
            if found.get(part) != own:
                other.append(_difference(part, found.get(part), own))
    raise CheckpointError(
        f"{path} is of another training: it has {'; '.join(other)}. Train with the same model, "
        f"recipe and data to go on; or {anew} {Faq.FILE_IS_THERE}."
    )


def _difference(part: str, found: object, own: object) -> str:
    """In which entry two parts of an identity differ."""
    if not isinstance(found, Mapping) or not isinstance(own, Mapping):
        return f"another {part}"
    names = [name for name in {**own, **found} if found.get(name) != own.get(name)]
    shown = [f"{name} {found.get(name)!r:.40} (now {own.get(name)!r:.40})" for name in names[:3]]
    return f"another {part}: {', '.join(shown)}"
