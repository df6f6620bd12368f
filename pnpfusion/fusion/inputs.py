"""What a fusion layer is given: features by modality, some of which may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.faq import Faq

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
    start: Tensor | None = None  #: where a solve begins, (rows, *state); None is the layer's own

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
    given = _given(dims, inputs)
    first, kind = next((name, values.dtype) for name, values in given.items())
    for name, values in given.items():
        width = dims[name]
        if not values.is_floating_point():
            raise ValueError(
                f"`inputs[{name!r}]` must be of a floating dtype, got {values.dtype}; e.g. "
                f".float() {Faq.WRONG_SHAPE}."
            )
        if values.ndim not in (2, 3) or values.shape[-1] != width:
            raise ValueError(
                f"`inputs[{name!r}]` must be (batch, {width}) or (batch, tokens, {width}), got "
                f"{tuple(values.shape)} {Faq.WRONG_SHAPE}."
            )
        if values.dtype != kind:
            raise ValueError(
                f"`inputs` must have one dtype, got {kind} for {first!r} and {values.dtype} for "
                f"{name!r} {Faq.WRONG_SHAPE}."
            )
    axes = _batch_axes({name: values.shape[:-1] for name, values in given.items()})
    rows = {name: values.reshape(-1, dims[name]) for name, values in given.items()}
    return _batch({name: (width,) for name, width in dims.items()}, rows, axes, present)


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
    given = _given(shapes, inputs)
    for name, values in given.items():
        wanted = shapes[name]
        if not values.ndim or (wanted is not None and tuple(values.shape[1:]) != wanted):
            raise ValueError(
                f"`inputs[{name!r}]` must be (batch, {'...' if wanted is None else wanted}), got "
                f"{tuple(values.shape)} {Faq.WRONG_SHAPE}."
            )
    axes = _batch_axes({name: values.shape[:1] for name, values in given.items()})
    return _batch(shapes, given, axes, present)


def _given(dims: Mapping[str, object], inputs: object) -> dict[str, Tensor]:
    """The modalities that are not None, in the order of ``dims``."""
    if isinstance(inputs, Mapping):
        check_known("inputs", inputs, dims, "modalities", Faq.MISSING_MODALITY)
        if lacking := [name for name in dims if name not in inputs]:
            raise ValueError(
                f"`inputs` lacks {lacking}; give None where a modality is missing on purpose"
                f" {Faq.MISSING_MODALITY}."
            )
        entries = [inputs[name] for name in dims]
    elif isinstance(inputs, Sequence):
        if len(inputs) != len(dims):
            raise ValueError(
                f"`inputs` must have one entry for each of {[*dims]}, got {len(inputs)} entries"
                f" {Faq.MISSING_MODALITY}."
            )
        entries = [*inputs]
    else:
        raise ValueError(
            f"`inputs` must be a dict or a list of tensors, one per modality {[*dims]}; got "
            f"{_kind(inputs)}."
        )
    given = {}
    for name, values in zip(dims, entries, strict=True):
        if values is None:
            continue
        if not isinstance(values, Tensor):
            raise ValueError(
                f"`inputs[{name!r}]` must be a torch.Tensor or None, got {_kind(values)}."
            )
        given[name] = values
    if not given:
        raise ValueError(
            f"`inputs` lacks every modality; at least one of {[*dims]} must be there"
            f" {Faq.MISSING_MODALITY}."
        )
    first = next(iter(given))
    for name, values in given.items():
        if values.device != given[first].device:
            raise ValueError(
                f"`inputs` must be on one device, got {first!r} on {given[first].device} and "
                f"{name!r} on {values.device}."
            )
    return given


def _kind(value: object) -> str:
    """What a value is, for errors."""
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    return type(value).__name__


def _batch_axes(axes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Those that all modalities have."""
    first, wanted = next(iter(axes.items()))
    for name, own in axes.items():
        if own != wanted:
            raise ValueError(
                f"`inputs` must have equal batch axes, got {tuple(wanted)} for {first!r} and "
                f"{tuple(own)} for {name!r} {Faq.WRONG_SHAPE}."
            )
    if not math.prod(wanted):
        raise ValueError(f"`inputs` must hold at least one sample, got batch axes {tuple(wanted)}.")
    return tuple(wanted)


def _batch(
    shapes: Mapping[str, tuple[int, ...] | None],
    given: Mapping[str, Tensor],
    axes: tuple[int, ...],
    present: Present,
) -> Batch:
    """``given``, one row per sample or token, with zeros for what is absent."""
    device = next(iter(given.values())).device
    dtype = next((values.dtype for values in given.values() if values.is_floating_point()), None)
    flags = _flags(shapes, given, present, axes, device)
    features = {}
    for column, (name, shape) in enumerate(shapes.items()):
        if name not in given:
            if shape is None:
                raise ValueError(
                    f"`inputs[{name!r}]` is None, but the shape of its samples is not known; "
                    f"give `shapes` to the layer, or zeros here and present={{{name!r}: flags}}"
                    f" {Faq.MISSING_MODALITY}."
                )
            features[name] = torch.zeros(math.prod(axes), *shape, dtype=dtype, device=device)
            continue
        values = given[name]
        if flags is not None:
            there = flags[:, column].reshape(-1, *(1 for _ in values.shape[1:]))
            values = torch.where(there, values, 0)
        if not torch.compiler.is_compiling() and not torch.isfinite(values.detach()).all():
            at = int((~values.detach().isfinite()).reshape(len(values), -1).any(1).nonzero()[0])
            raise ValueError(
                f"`inputs[{name!r}]` must be finite, got NaN or infinity in row {at}; impute it, "
                f"or say that it is missing: present={{{name!r}: flags}} {Faq.BAD_NUMBERS}."
            )
        features[name] = values
    return Batch(features, flags, axes)


def _flags(
    dims: Mapping[str, object],
    given: Mapping[str, Tensor],
    present: object,
    axes: tuple[int, ...],
    device: torch.device,
) -> Tensor | None:
    """Which rows have which modality, (rows, modalities); None if all have all."""
    if present is not None and not isinstance(present, Mapping):
        raise ValueError(
            f"`present` must map modalities to flags, e.g. {{{next(iter(dims))!r}: flags}}, got "
            f"{_kind(present)}."
        )
    told = {name: flags for name, flags in (present or {}).items() if flags is not None}
    check_known("present", told, dims, "modalities", Faq.MISSING_MODALITY)
    if not told and len(given) == len(dims):
        return None
    columns = []
    for name in dims:
        flags = told.get(name)
        if flags is None:
            columns.append(torch.full(axes, name in given, device=device))
            continue
        if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != axes[:1]:
            got = f"{flags.dtype} {tuple(flags.shape)}" if isinstance(flags, Tensor) else flags
            raise ValueError(
                f"`present[{name!r}]` must be a bool tensor of shape {axes[:1]}, got {got}."
            )
        if name not in given and not torch.compiler.is_compiling() and flags.any():
            raise ValueError(
                f"`present[{name!r}]` says that some are there; the input is None"
                f" {Faq.MISSING_MODALITY}."
            )
        flags = flags.to(device)
        columns.append(flags.reshape(-1, *(1 for _ in axes[1:])).expand(axes))
    together = torch.stack(columns, -1).reshape(-1, len(dims))
    alone = ~together.any(1)
    if not torch.compiler.is_compiling() and alone.any():
        row = int(alone.nonzero()[0])
        raise ValueError(
            f"every sample needs a modality, got {int(alone.sum())} rows without any, the first is "
            f"row {row}; drop them {Faq.MISSING_MODALITY}."
        )
    return together
