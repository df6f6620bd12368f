"""What a trained model says, and how that changes where features are noisy or missing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.data.task import outputs_of
from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.callers import users_level
from pnpfusion.training.metrics import Reliability, reliability
from pnpfusion.training.model import FusionModel
from pnpfusion.training.noise import noised
from pnpfusion.training.objectives import Objective, objective_of

BATCH = 512  #: samples in one call


def predict(
    model: FusionModel,
    data: Features | Mapping[str, Tensor | None],
    *,
    missing: Sequence[str] = (),
    batch: int = BATCH,
) -> Tensor:
    """The model's outputs, (n, outputs): logits, or numbers. It is in evaluation mode meanwhile.

    Args:
        model: a trained one.
        data: samples with its modalities; ``data.present`` says who lacks which. Or a dict of
            tensors, (n, d) or (n, tokens, d) each, None for a modality that none of them has.
        missing: modalities that none of them has.
        batch: samples in one call.

    Raises:
        ValueError: data with other modalities, or nothing left to go by.
    """
    if isinstance(data, Mapping):
        data, absent = _features(model, data)
        missing = [*missing, *absent]
    if not isinstance(data, Features):
        raise ValueError(
            f"`data` must be a pnpfusion.data.Features or a dict of tensors, one for each of "
            f"{[*model.config.dims]}, got {type(data).__name__}."
        )
    if dict(data.dims) != dict(model.config.dims):
        raise ValueError(
            f"`data` must have the modalities {dict(model.config.dims)}, got {data.dims}."
        )
    check_known("missing", missing, data.modalities, "modalities")
    where, parts, before = model.head.weight.device, [], model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(data), batch):
                rows = slice(start, start + batch)
                inputs = {
                    name: None if name in missing else values[rows].to(where)
                    for name, values in data.modalities.items()
                }
                flags = {
                    name: values[rows].to(where)
                    for name, values in (data.present or {}).items()
                    if name not in missing
                }
                told = model(inputs, flags or None)
                parts.append(told.float() if told.dtype == torch.bfloat16 else told)
    finally:
        model.train(before)
    return torch.cat(parts).clone()  # an ordinary tensor


def _features(model: FusionModel, given: Mapping[str, Tensor | None]) -> tuple[Features, list[str]]:
    """The rows that are given by modality, zeros where one is None, and the names of those."""
    dims = model.config.dims
    if given.keys() != dims.keys():
        raise ValueError(
            f"`data` must have the modalities {[*dims]}, None for one that is missing; got "
            f"{[*given]}."
        )
    there = {name: values for name, values in given.items() if values is not None}
    if not there:
        raise ValueError("`data` lacks every modality; at least one must be there.")
    first = next(iter(there.values()))
    rows = {
        name: there[name] if name in there else first.new_zeros(len(first), width)
        for name, width in dims.items()
    }
    return Features("new rows", rows), [name for name in dims if name not in there]


def objective_for(model: FusionModel) -> Objective:
    """How the model's answers are judged."""
    return objective_of(
        model.config.task, model.config.outputs, model.get_buffer("target_scale").cpu()
    )


def evaluate(
    model: FusionModel,
    data: Features,
    *,
    missing: Sequence[str] = (),
    batch: int = BATCH,
) -> dict[str, float]:
    """The metrics of the model's task on these samples; see :func:`predict`.

    Args:
        model: a trained one.
        data: samples with its modalities and a target.
        missing: modalities that none of them has.
        batch: samples in one call.

    Returns:
        Each metric by its name; which there are depends on the task.

    Raises:
        ValueError: data without a target, or see :func:`predict`.
    """
    outputs = predict(model, data, missing=missing, batch=batch)
    return objective_for(model).metrics(outputs.cpu(), fitting_target(data, model))


def fitting_target(data: Features, model: FusionModel) -> Tensor:
    """The target, if it is what the model tells.

    Raises:
        ValueError: it is not.
    """
    if data.target is None or data.task != model.config.task:
        raise ValueError(
            f"`data` must have a target of {model.config.task}, as the model learned, got "
            f"{data.task}."
        )
    wide = outputs_of(data.target, data.class_names)
    if wide != model.config.outputs:
        raise ValueError(f"`data` must have {model.config.outputs} {data.task}, got {wide}.")
    return data.target


def without_each(model: FusionModel, data: Features) -> dict[str, dict[str, float]]:
    """The metrics where one modality is missing in all samples, by the name of the missing one.

    Samples that have no other are left out (:meth:`Features.without`), and so is a modality beside
    which no sample has another. To compare, judge with it the same samples,
    ``data.samples(data.rows_without([name]))``.

    Args:
        model: a trained one.
        data: samples with its modalities and a target.

    Returns:
        For each missing modality its metrics as :func:`evaluate` gives them.

    Raises:
        ValueError: a set of one modality, or see :func:`evaluate`.

    Warns:
        UserWarning: a modality is left out.
    """
    if len(data.dims) < 2:
        raise ValueError(f"{data.name!r} has one modality, and nothing is left without it.")
    able = [name for name in data.dims if len(data.rows_without([name]))]
    if lone := [name for name in data.dims if name not in able]:
        warnings.warn(
            f"no sample has another modality than {lone}, so nothing is told of what is without.",
            stacklevel=users_level(),
        )
    return {name: evaluate(model, data.without([name])) for name in able}


def with_noise(
    model: FusionModel,
    data: Features,
    levels: Sequence[float],
    *,
    modalities: Sequence[str] | None = None,
    generator: torch.Generator,
) -> list[dict[str, float]]:
    """The metrics where normal noise is added to features, the same draws at each level.

    Args:
        model: a trained one.
        data: samples with its modalities.
        levels: standard deviations, in units of each feature's own over the training samples.
        modalities: which of them are noisy; None for all.
        generator: where the noise comes from.

    Returns:
        For each level its metrics as :func:`evaluate` gives them.

    Raises:
        ValueError: unknown modalities, or see :func:`evaluate`.
    """
    noisy = [*data.dims] if modalities is None else [*modalities]
    check_known("modalities", noisy, data.dims, "modalities")
    spreads = {}
    for place, name in enumerate(model.modalities):
        scale = model.get_buffer(f"scale_{place}").double().cpu()
        spreads[name] = torch.where(scale.isfinite(), scale, 0)  # constant: the model does not look
    seen = [name for name in noisy if name in spreads]
    seed = int(torch.randint(2**62, (), generator=generator))
    return [evaluate(model, noised(data, spreads, level, seen, seed=seed)) for level in levels]


def calibration(model: FusionModel, data: Features) -> Reliability:
    """How often the model is right at each confidence; of classes.

    Args:
        model: a trained one.
        data: samples with its modalities and a target.

    Raises:
        ValueError: another task, or see :func:`evaluate`.
    """
    if model.config.task != "classes":
        raise ValueError(f"calibration is of classes, got a model of {model.config.task}.")
    likely = predict(model, data).double().softmax(1).cpu()
    best = likely.max(1)
    return reliability(best.values, best.indices == fitting_target(data, model))
