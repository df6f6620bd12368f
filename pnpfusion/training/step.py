"""One step of training, and one look at samples that are not learned from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pnpfusion.data.feature_set import Features, target_of
from pnpfusion.fusion.layer import FusionLayer
from pnpfusion.solvers.faq import Faq
from pnpfusion.sweeps.crew import Crew
from pnpfusion.training import randomness
from pnpfusion.training.checkpoint import TrainingError
from pnpfusion.training.health import from_numbers, to_numbers, watch
from pnpfusion.training.model import FusionModel
from pnpfusion.training.objectives import Objective, objective_of
from pnpfusion.training.parallel import own_place, sum_gradients, sum_over
from pnpfusion.training.recipe import Recipe
from pnpfusion.training.tally import Tally

LOOK = 512  #: samples of a call without gradient, over all processes


class Learner:
    """A model with its optimiser, its objective and its samples, ready to take steps.

    Args:
        model: what learns; its scales are fitted.
        data: samples with splits.
        recipe: how.
        crew: the processes that share each batch.
        device: where.
    """

    def __init__(
        self, model: FusionModel, data: Features, recipe: Recipe, crew: Crew, device: torch.device
    ) -> None:
        self.model, self.data, self.recipe, self.crew = model, data, recipe, crew
        self.device = device
        self.dtype = model.head.weight.dtype
        self.target = target_of(data)
        self.train_rows = data.splits["train"]
        self.steps = math.ceil(len(self.train_rows) / recipe.batch)  #: of an epoch
        self.objective: Objective = objective_of(
            model.config.task,
            model.config.outputs,
            model.get_buffer("target_scale"),
            recipe.label_smoothing,
        )
        self.objective.prepare(self.target[self.train_rows], recipe.class_weights)
        self.parameters = [one for one in model.parameters() if one.requires_grad]
        matrices = [one for one in self.parameters if one.ndim > 1]
        others = [one for one in self.parameters if one.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
        )
        self.always_asks = self._has_much_to_tell()

    def step(self, epoch: int, index: int, rows: Tensor, tally: Tally, wish: float) -> bool:
        """Learn from the samples ``rows`` of a batch; of several processes each takes its share.

        Args:
            epoch: counted from 0.
            index: of the step within it.
            rows: the samples of the whole batch.
            tally: where losses and the health of solves are counted.
            wish: above 0 if this process wants to stop after this step.

        Returns:
            Whether any process does.

        Raises:
            TrainingError: the loss or its gradient is not finite. The weights are as they were.
        """
        recipe = self.recipe
        inputs, present, keep, target, counts = self._share(epoch, index, rows)
        torch.manual_seed(randomness.seed_of("layers", recipe.seed, epoch, index, self.crew.rank))
        asks = self.always_asks or index == 0
        weights = self.objective.weights(target) * counts
        total = self.objective.weights(self.target[rows]).sum().clamp_min(1e-12)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        try:
            with self._autocast():
                answer = self.model(inputs, present, keep=keep, return_info=asks)
            outputs, info = answer if asks else (answer, None)
            outputs = outputs.to(self.dtype)
            each = self.objective.losses(outputs, target) * (weights / total).to(outputs)
            loss = task = each.sum()
            extra = {}  # means over our share, which add up to that over the batch
            for name, value in ({} if info is None else info.losses).items():
                own = value * float(counts.sum() / len(rows))
                extra[name] = own.detach().to(loss)
                if weight := recipe.loss_weights.get(name, 0.0):
                    loss = loss + weight * own
            loss.backward()
            own = Tally()  # of our share; a sample that counts nothing tells nothing
            if info is not None and counts.any():
                watch(own, info)
        except FloatingPointError as error:
            raise self._not_finite(epoch, index, str(error)) from error
        told = torch.stack([task.detach(), loss.detach(), loss.new_tensor(wish), *extra.values()])
        health = loss.new_tensor(own_place(self.crew, to_numbers(own)))
        summed = sum_gradients(self.crew, self.parameters, torch.cat([told, health])).tolist()
        task_loss, all_loss, stop, *others = summed[: len(told)]
        norm = nn.utils.clip_grad_norm_(self.parameters, recipe.clip or math.inf)
        if not math.isfinite(all_loss) or not math.isfinite(float(norm)):
            raise self._not_finite(epoch, index, f"loss {all_loss}, norm of gradient {float(norm)}")
        rate = recipe.rate_at(epoch * self.steps + index, recipe.epochs * self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        tally.add("loss", all_loss, len(rows))
        tally.add("task", task_loss, len(rows))
        tally.add("gradient_norm", float(norm), len(rows))
        for name, value in zip(extra, others, strict=True):
            tally.add(name, value, len(rows))
        self._merge(tally, own, summed[len(told) :])
        return bool(stop > 0)

    def _merge(self, tally: Tally, own: Tally, all_places: list[float]) -> None:
        """Count what solves of all processes have told, each at its place."""
        if self.crew.group is None:
            tally.merge(own)
            return
        length = len(all_places) // self.crew.size
        for start in range(0, len(all_places), length):
            tally.merge(from_numbers(all_places[start : start + length]))

    def look(self, split: str, epoch: int, tally: Tally) -> dict[str, float]:
        """The metrics on a split, shared by all processes, the same numbers for each.

        Raises:
            TrainingError: they are not finite.
        """
        rows = self.data.splits[split]
        found = torch.zeros(
            len(rows), self.model.config.outputs, dtype=torch.float64, device=self.device
        )
        torch.manual_seed(randomness.seed_of("look", self.recipe.seed, epoch, self.crew.rank))
        self.model.eval()
        crew, own = self.crew, Tally()
        try:
            with torch.inference_mode(), self._autocast():
                for part in torch.arange(crew.rank, len(rows), crew.size).split(LOOK):
                    if not len(part):  # more processes than samples
                        continue
                    inputs, present = self._inputs(rows[part])
                    told, info = self.model(inputs, present, return_info=True)
                    found[part] = told.double()
                    watch(own, info)
        except FloatingPointError as error:
            raise self._not_finite(epoch, self.steps, str(error)) from error
        found = sum_over(crew, found).cpu()
        health = found.new_tensor(own_place(crew, to_numbers(own))).to(self.device)
        self._merge(tally, own, sum_over(crew, health).tolist())
        metrics = self.objective.metrics(found, self.target[rows])
        if not all(map(math.isfinite, metrics.values())):
            raise self._not_finite(epoch, self.steps, f"metrics on {split!r} {metrics}")
        return metrics

    def _share(
        self, epoch: int, index: int, rows: Tensor
    ) -> tuple[
        dict[str, Tensor], dict[str, Tensor] | None, dict[str, Tensor] | None, Tensor, Tensor
    ]:
        """Our part of a batch: inputs, presence, dropout, target, and 1 for each that counts.

        What is drawn is drawn for the whole batch, so that it depends on no number of processes.
        """
        recipe, crew = self.recipe, self.crew
        mine = torch.arange(crew.rank, len(rows), crew.size)
        counts = torch.ones(len(mine), dtype=torch.float64)
        if not len(mine):  # more processes than samples: one of them is looked at and counts 0
            mine, counts = torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.float64)
        draw = randomness.drawn_by("step", recipe.seed, epoch, index)
        names, keep = self.model.modalities, None
        inputs, present = self._inputs(rows[mine])
        if recipe.modality_dropout and len(names) > 1:
            flags = randomness.presence(names, len(rows), recipe.modality_dropout, draw)
            kept = {name: flag[mine].to(self.device) for name, flag in flags.items()}
            present = kept if present is None else _of_those_there(present, kept)
        if recipe.input_dropout:
            keep = {}
            for name in names:
                shape = (len(rows), *self.data.modalities[name].shape[1:])
                scales = randomness.dropout(shape, recipe.input_dropout, draw)
                keep[name] = scales[mine].to(self.device, self.dtype)
        target = self.target[rows[mine]].to(self.device)
        return inputs, present, keep, target, counts.to(self.device)

    def _inputs(self, rows: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Features of these samples, and who has them; None where nobody of the set lacks any."""
        inputs = {
            name: values[rows].to(self.device, self.dtype)
            for name, values in self.data.modalities.items()
        }
        if self.data.present is None:
            return inputs, None
        return inputs, {name: self.data.there(name)[rows].to(self.device) for name in inputs}

    def _autocast(self) -> torch.autocast:
        mixed = self.recipe.precision == "bfloat16-mixed"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def _has_much_to_tell(self) -> bool:
        """Whether to ask for the info of every step: it has losses, or a solve that may fail.

        Of cells at rest, which cannot fail and have no losses, the first step of an epoch tells
        enough; asking takes several times as long there.
        """
        self.model.eval()
        torch.manual_seed(0)
        with torch.no_grad(), self._autocast():
            _, info = self.model(*self._inputs(self.train_rows[:2]), return_info=True)
        layers = [one for one in self.model.modules() if isinstance(one, FusionLayer)]
        return bool(info.losses) or any(layer.iterates for layer in layers)

    def _not_finite(self, epoch: int, index: int, what: str) -> TrainingError:
        return TrainingError(
            f"training stopped being finite in epoch {epoch + 1}, step {index + 1} of "
            f"{self.steps}: {what}. The last checkpoint is intact, but the same recipe comes here "
            f"again: lower `learning_rate` (now {self.recipe.learning_rate:g}), clip the gradient "
            f'(`clip`, now {self.recipe.clip}), or take precision="float64"'
            f" {Faq.TRAINING_NOT_FINITE}."
        )


def _of_those_there(there: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """What samples keep of what they have; who would lose all of it loses nothing."""
    both = {name: flags & kept.get(name, flags) for name, flags in there.items()}
    left = torch.stack([*both.values()]).any(0)
    return {name: torch.where(left, both[name], flags) for name, flags in there.items()}
