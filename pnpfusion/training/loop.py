"""The one loop in which models learn."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning
from pnpfusion.sweeps.crew import Crew, assembled
from pnpfusion.sweeps.folder import locked
from pnpfusion.training import checkpoint, randomness
from pnpfusion.training.checkpoint import Checkpoint, Standing, TrainingError
from pnpfusion.training.health import MEANS, PEAKS, cell_figures, warn_if_worse
from pnpfusion.training.identity import check_fit, identity_of
from pnpfusion.training.model import FusionModel
from pnpfusion.training.parallel import share_weights
from pnpfusion.training.pretrained import check_weights
from pnpfusion.training.recipe import Recipe
from pnpfusion.training.report import Report
from pnpfusion.training.step import Learner
from pnpfusion.training.stop import StopWish
from pnpfusion.training.tally import Tally

#: Seconds between checkpoints, if nothing is said; one is written at the end in any case.
BETWEEN_CHECKPOINTS = 15.0


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of a training."""

    model: FusionModel  #: with the weights of the best epoch
    history: tuple[dict[str, Any], ...]  #: a row for each epoch
    best_epoch: int  #: counted from 1; the last one where nothing is validated on
    seconds: float
    """By the clock on the wall, from the call to its last checkpoint, which is made when the last
    epoch is over; with it all calls that it goes on from, likewise (what a killed one lost is
    unknown)."""
    stopped_early: bool  #: whether patience ended it


class Stopped(KeyboardInterrupt):
    """Someone asked to stop, by Ctrl-C or SIGTERM; the checkpoint says where to go on from.

    Args:
        epoch: in which it happened, counted from 0.
        step: how many steps of it were done.
        folder: where the checkpoint is; None if there is none.
        terminated: whether by SIGTERM.
    """

    def __init__(self, epoch: int, step: int, folder: Path | None, *, terminated: bool) -> None:
        self.terminated = terminated  #: by SIGTERM
        self.at = f"epoch {epoch + 1} after step {step}"
        where = (
            f"the checkpoint is in {folder}, and the same call goes on from it"
            if folder
            else "nothing is kept, since there was no `folder`"
        )
        super().__init__(f"stopped in {self.at}; {where}.")


def train(
    model: FusionModel,
    data: Features,
    recipe: Recipe | None = None,
    *,
    folder: str | Path | None = None,
    resume: bool = True,
    progress: bool = False,
    device: str | torch.device | None = None,
    checkpoint_every: float = BETWEEN_CHECKPOINTS,
    tensorboard: bool = False,
) -> Trained:
    r"""Learn from the split "train" of the data, and keep the epoch that is best on "valid".

    Everything random follows from ``recipe.seed``, so the same call gives the same weights: on one
    machine with one number of threads bit for bit, also if it was killed and called again. Under
    `torchrun` each process takes a share of each batch, and the result is the same to round-off.

    Args:
        model: what learns; it is changed in place.
        data: samples with a target and the splits "train" and, to select by and to stop early,
            "valid". Without the latter the last epoch is kept.
        recipe: how; None for the defaults.
        folder: where the checkpoint, metrics.jsonl and in the end the model are written; made if
            need be. None keeps nothing.
        resume: go on from a checkpoint of the same training in ``folder``; False takes it away.
        progress: show a bar.
        device: where to compute; None is where the model is.
        checkpoint_every: seconds between two checkpoints; 0 writes one after every step.
        tensorboard: write events for TensorBoard into ``folder`` too.

    Returns:
        The model with the weights of the best epoch, in evaluation mode, and what happened.

    Raises:
        ValueError: data without a target or the split "train", or that the model does not fit.
        CheckpointError: a checkpoint in ``folder`` that is damaged, or of another training.
        FolderError: another training is at work in ``folder``.
        TrainingError: the loss stopped being finite, or a file could not be written.
        LostProcess: another process of the training has died.
        Stopped: Ctrl-C or SIGTERM; a second one is obeyed at once, without a checkpoint.

    Warns:
        HealthWarning: ever more samples are without a converged solve.
    """
    begun, recipe = time.perf_counter(), recipe or Recipe()
    place = None if folder is None else Path(folder)
    where = torch.device(device) if device is not None else model.head.weight.device
    check_fit(model, data, recipe)
    with ExitStack() as stack:
        crew = stack.enter_context(assembled())
        _claim(place, crew, stack)
        stack.enter_context(_quietly(where))
        model.to(where, torch.float64 if recipe.precision == "float64" else torch.float32)
        if not bool(model.get_buffer("fitted")):
            model.fit_scales(data.split("train"))
        share_weights(crew, model)
        learner = Learner(model, data, recipe, crew, where)
        identity = identity_of(learner.model, learner.recipe, data)
        at, best = _begin(learner, place, identity, resume=resume)
        crew.meet()  # where one of them has died the others hear of it
        writes = place is not None and crew.rank == 0
        report = stack.enter_context(
            Report(
                place if crew.rank == 0 else None,
                progress=progress and crew.rank == 0,
                tensorboard=tensorboard and crew.rank == 0,
                steps=recipe.epochs * learner.steps,
            )
        )
        wish = stack.enter_context(StopWish())
        report.begin(at.history, at.epoch * learner.steps + at.step)
        before, saved = at.seconds, time.perf_counter()

        def keep() -> None:
            nonlocal saved
            at.seconds = before + time.perf_counter() - begun
            if writes and place is not None:
                checkpoint.write(place, _checkpoint(learner, at, best), identity)
            saved = time.perf_counter()

        while not at.finished:
            order = randomness.order(learner.train_rows, recipe.seed, at.epoch)
            batches = order.split(recipe.batch)
            while at.step < learner.steps:
                asked = float(wish.asked is not None)
                stop = learner.step(at.epoch, at.step, batches[at.step], at.tally, asked)
                at.step += 1
                report.step(at.epoch + 1)
                if stop or time.perf_counter() - saved >= checkpoint_every:
                    keep()
                if stop:
                    terminated = wish.asked is not None and wish.asked.name == "SIGTERM"
                    raise Stopped(at.epoch, at.step, place, terminated=terminated)
            row = _close_epoch(learner, at)
            if at.best_epoch == row["epoch"]:
                best = {
                    name: value.detach().clone(memory_format=torch.contiguous_format)
                    for name, value in model.state_dict().items()
                }
            at.finished = at.epoch == recipe.epochs or _is_patience_over(at, recipe)
            report.epoch(at.history)
            with report.aside():
                warn_if_worse(at.history)
            if at.finished or checkpoint_every == 0:
                keep()
        report.end()
        model.load_state_dict(best)
        model.eval()
        if writes and place is not None:
            _save(model, place)
        crew.meet()
    early = at.epoch < recipe.epochs
    return Trained(model, tuple(at.history), at.best_epoch, at.seconds, early)


def _close_epoch(learner: Learner, at: Standing) -> dict[str, Any]:
    """Validate, and move on to the next epoch; the row of this one."""
    epoch, watched = at.epoch + 1, Tally()
    validates = "valid" in learner.data.splits
    valid = learner.look("valid", at.epoch, watched) if validates else {}
    train, health = _apart(at.tally.numbers())
    looked = {f"valid_{name}": value for name, value in watched.numbers().items()}
    row = {
        "epoch": epoch,
        "learning_rate": learner.recipe.rate_at(
            epoch * learner.steps - 1, learner.recipe.epochs * learner.steps
        ),
        "score": learner.objective.score,
        "train": train,
        "valid": valid,
        "health": {**health, **looked, **cell_figures(learner.model.fusion)},
    }
    best = next((one for one in at.history if one["epoch"] == at.best_epoch), None)
    if best is None or not validates or _merit(row) > _merit(best):
        at.best_epoch = epoch
    at.history.append(row)
    at.epoch, at.step, at.tally = epoch, 0, Tally()
    return row


def _merit(row: dict[str, Any]) -> tuple[float, float]:
    """By what epochs are compared: the task's score, and the loss where that is the same."""
    return row["valid"][row["score"]], -row["valid"]["loss"]


def _is_patience_over(at: Standing, recipe: Recipe) -> bool:
    return recipe.patience is not None and at.epoch - at.best_epoch >= recipe.patience


def _apart(numbers: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Losses, and what tells of solves."""
    solves = (*MEANS, *PEAKS)
    health = {name: value for name, value in numbers.items() if name in solves}
    return {name: value for name, value in numbers.items() if name not in solves}, health


def _begin(
    learner: Learner, folder: Path | None, identity: dict[str, Any], *, resume: bool
) -> tuple[Standing, dict[str, Tensor]]:
    """Where to go on from, and the best weights so far; the model is put there."""
    found = None
    if folder is not None and resume:
        found = checkpoint.read(folder, identity)
    if folder is not None and learner.crew.rank == 0:
        if not resume:
            checkpoint.remove(folder)
        for path in checkpoint.leftovers(folder):
            path.unlink(missing_ok=True)
    if found is None:
        return Standing(), {}
    where = str(folder)
    check_weights(learner.model.state_dict(), found.model, where)
    learner.model.load_state_dict(found.model)
    state = learner.optimizer.state_dict()
    state["state"] = found.optimizer
    learner.optimizer.load_state_dict(state)
    return found.standing, found.best


def _checkpoint(learner: Learner, at: Standing, best: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(at, learner.model.state_dict(), best, learner.optimizer.state_dict()["state"])


def _claim(folder: Path | None, crew: Crew, stack: ExitStack) -> None:
    """Make the folder, and hold it alone; in every process an error if the first cannot."""
    problem: Exception | None = None
    if folder is not None and crew.rank == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder, shared=False, what="training"))
        except RuntimeError as error:
            problem = error
        except OSError as error:
            problem = TrainingError(
                f"the folder {folder} cannot be written to: {error.strerror or error}; choose "
                f"another, or make it writable."
            )
            problem.__cause__ = error
    if any(crew.meet(int(problem is not None))):
        raise problem or TrainingError(f"rank 0 could not have the folder {folder}; it says why.")


def _save(model: FusionModel, folder: Path) -> None:
    try:
        model.save_pretrained(folder)
    except OSError as error:
        raise TrainingError(
            f"the model cannot be written to {folder}: {error.strerror or error}. The checkpoint "
            f"is finished; make room there, and the same call writes the model."
        ) from error


@contextmanager
def _quietly(where: torch.device) -> Iterator[None]:
    """Leave torch's generators alone, and count unconverged solves instead of warning of each."""
    devices = [where.index or 0] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
