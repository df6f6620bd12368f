"""What a fusion layer is given: features by modality, some of which may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Features by modality, or in the order of `dims`; None for a modality that is missing.
Inputs = Mapping[str, Tensor | None] | Sequence[Tensor | None]
#: Which samples have a modality: flags of shape (batch,); what is not named is there.
Present = Mapping[str, Tensor | None] | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Features as layers compute with them: one row per sample, or per token of a sample."""

    features: dict[
        str, Tensor
    ]  #: (rows, d) each, or as the layer reads; zero where the modality is absent
    present: Tensor | None  #: bool (rows, modalities); None where nothing is missing
    shape: tuple[int, ...]  #: (batch,) or (batch, tokens), rows in that order

    @property
    def rows(self) -> int:
        """How many there are."""
        return math.prod(self.shape)


def read_inputs(dims: Mapping[str, int], inputs: Inputs, present: Present = None) -> Batch:
    """Check ``inputs`` against ``dims`` and lay them out row by row.

    Within `torch.compile` values are not looked at, only shapes, dtypes and names.

    Args:
        dims: the width of each modality.
        inputs: features (batch, d) or (batch, tokens, d) by modality, or in the order of ``dims``;
            None where a whole modality is missing.
        present: bool flags of shape (batch,) by modality, for those that some samples lack. What
            stands in the place of absent features is not looked at.

    Raises:
        ValueError: an unknown, missing or wrongly shaped modality, features that are not finite, an
            empty batch, dtypes or devices that differ, or a sample without any modality.
    """
    named = _named(dims, inputs)
    given = {name: values for name, values in named.items() if values is not None}
    if not given:
        raise ValueError(f"`inputs` lacks every modality; at least one of {[*dims]} must be there.")
    first_name, first = next(iter(given.items()))
    for name, values in given.items():
        _check(name, values, dims[name])
        if values.shape[:-1] != first.shape[:-1]:
            raise ValueError(
                f"`inputs` must have equal batch axes, got {tuple(first.shape)} for "
                f"{first_name!r} and {tuple(values.shape)} for {name!r}."
            )
        if (values.dtype, values.device) != (first.dtype, first.device):
            raise ValueError(
                f"`inputs` must have one dtype and device, got {first.dtype} on {first.device} for "
                f"{first_name!r} and {values.dtype} on {values.device} for {name!r}."
            )
    shape = tuple(first.shape[:-1])
    if not math.prod(shape):
        raise ValueError(f"`inputs` must hold at least one sample, got {tuple(first.shape)}.")
    flags = _flags(named, present, shape, first.device)
    features = {}
    for column, (name, width) in enumerate(dims.items()):
        entry = named[name]
        if entry is None:
            features[name] = first.new_zeros(()).expand(math.prod(shape), width)
            continue
        rows = entry.reshape(-1, width)
        if flags is not None:
            rows = torch.where(flags[:, column, None], rows, 0)
        if not torch.compiler.is_compiling() and not torch.isfinite(rows.detach()).all():
            at = int((~rows.detach().isfinite()).any(1).nonzero()[0])
            raise ValueError(
                f"`inputs[{name!r}]` must be finite, got NaN or infinity in row {at}; impute it, "
                f"or say that it is missing: present={{{name!r}: flags}}."
            )
        features[name] = rows
    return Batch(features, flags, shape)


def read_samples(
    shapes: Mapping[str, tuple[int, ...] | None], inputs: Inputs, present: Present = None
) -> Batch:
    """Like :func:`read_inputs`, for inputs (batch, ...) of any shape and dtype, one row per sample.

    Args:
        shapes: the shape of one sample of each modality, where it is known. Only a modality that
            is None as a whole needs one.
        inputs: (batch, *shape) by modality, or in the order of ``shapes``; None where one is
            missing.
        present: see :func:`read_inputs`.

    Raises:
        ValueError: an unknown, missing or wrongly shaped modality, batches that differ or are
            empty, numbers that are not finite, devices that differ, a sample without any modality,
            or None for a modality of unknown shape.
    """
    named = _named(shapes, inputs)
    given = {name: values for name, values in named.items() if values is not None}
    if not given:
        raise ValueError(f"`inputs` lacks every modality; one of {[*shapes]} must be there.")
    first_name, first = next(iter(given.items()))
    for name, values in given.items():
        if not isinstance(values, Tensor):
            raise ValueError(
                f"`inputs[{name!r}]` must be a torch.Tensor or None, got {type(values).__name__}."
            )
        wanted = shapes[name]
        if not values.ndim or (wanted is not None and tuple(values.shape[1:]) != wanted):
            raise ValueError(
                f"`inputs[{name!r}]` must be (batch, {'...' if wanted is None else wanted}), got "
                f"{tuple(values.shape)}."
            )
        if len(values) != len(first) or not len(values):
            raise ValueError(
                f"`inputs` must hold one batch of at least one sample, got {len(first)} of "
                f"{first_name!r} and {len(values)} of {name!r}."
            )
        if values.device != first.device:
            raise ValueError(
                f"`inputs` must be on one device, got {first_name!r} on {first.device} and "
                f"{name!r} on {values.device}."
            )
    flags = _flags(named, present, (len(first),), first.device)
    like = next((values for values in given.values() if values.is_floating_point()), None)
    features = {}
    for column, (name, shape) in enumerate(shapes.items()):
        if name not in given:
            if shape is None:
                raise ValueError(
                    f"`inputs[{name!r}]` is None, but the shape of its samples is not known; "
                    f"give `shapes` to the layer, or zeros here and present={{{name!r}: flags}}."
                )
            features[name] = torch.zeros(
                len(first), *shape, dtype=None if like is None else like.dtype, device=first.device
            )
            continue
        values = given[name]
        if flags is not None:
            there = flags[:, column].reshape(-1, *(1 for _ in values.shape[1:]))
            values = torch.where(there, values, 0)
        if not torch.compiler.is_compiling() and not torch.isfinite(values.detach()).all():
            at = int((~values.detach().isfinite()).reshape(len(values), -1).any(1).nonzero()[0])
            raise ValueError(
                f"`inputs[{name!r}]` must be finite, got NaN or infinity in sample {at}; impute "
                f"it, or say that it is missing: present={{{name!r}: flags}}."
            )
        features[name] = values
    return Batch(features, flags, (len(first),))


def _named(dims: Mapping[str, object], inputs: Inputs) -> dict[str, Tensor | None]:
    if isinstance(inputs, Tensor):
        raise ValueError(
            f"`inputs` must be a dict or a list of tensors, one per modality {[*dims]}; got one "
            f"tensor of shape {tuple(inputs.shape)}."
        )
    if isinstance(inputs, Mapping):
        if unknown := [name for name in inputs if name not in dims]:
            raise ValueError(f"`inputs` has unknown modalities {unknown}; known are {[*dims]}.")
        if lacking := [name for name in dims if name not in inputs]:
            raise ValueError(
                f"`inputs` lacks {lacking}; give None where a modality is missing on purpose."
            )
        return {name: inputs[name] for name in dims}
    if len(inputs) != len(dims):
        raise ValueError(
            f"`inputs` must have one entry for each of {[*dims]}, got {len(inputs)} entries."
        )
    return dict(zip(dims, inputs, strict=True))


def _check(name: str, values: object, width: int) -> None:
    if not isinstance(values, Tensor):
        raise ValueError(
            f"`inputs[{name!r}]` must be a torch.Tensor or None, got {type(values).__name__}."
        )
    if not values.is_floating_point():
        raise ValueError(
            f"`inputs[{name!r}]` must be of a floating dtype, got {values.dtype}; e.g. .float()."
        )
    if values.ndim not in (2, 3) or values.shape[-1] != width:
        raise ValueError(
            f"`inputs[{name!r}]` must be (batch, {width}) or (batch, tokens, {width}), got "
            f"{tuple(values.shape)}."
        )


def _flags(
    named: Mapping[str, Tensor | None],
    present: Present,
    shape: tuple[int, ...],
    device: torch.device,
) -> Tensor | None:
    """Which rows have which modality, (rows, modalities); None if all have all."""
    given = {name: flags for name, flags in (present or {}).items() if flags is not None}
    if unknown := [name for name in given if name not in named]:
        raise ValueError(f"`present` has unknown modalities {unknown}; known are {[*named]}.")
    if not given and all(values is not None for values in named.values()):
        return None
    columns = []
    for name, values in named.items():
        flags = given.get(name)
        if flags is None:
            columns.append(torch.full(shape, values is not None, device=device))
            continue
        if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != shape[:1]:
            got = f"{flags.dtype} {tuple(flags.shape)}" if isinstance(flags, Tensor) else flags
            raise ValueError(f"`present[{name!r}]` must be bool of shape {shape[:1]}, got {got}.")
        if values is None and not torch.compiler.is_compiling() and flags.any():
            raise ValueError(f"`present[{name!r}]` says that some are there; the input is None.")
        flags = flags.to(device)
        columns.append(flags.reshape(-1, *(1 for _ in shape[1:])).expand(shape))
    together = torch.stack(columns, -1).reshape(-1, len(named))
    alone = ~together.any(1)
    if not torch.compiler.is_compiling() and alone.any():
        row = int(alone.nonzero()[0])
        raise ValueError(
            f"every sample needs a modality, got {int(alone.sum())} rows without any, the first is "
            f"row {row}; drop them."
        )
    return together
