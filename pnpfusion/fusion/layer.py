"""What every fusion layer is."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.like_parameters import check_like_parameters, floating_parameter
from pnpfusion.fusion.inputs import Batch, Inputs, Present, read_inputs
from pnpfusion.run.equilibrium import equilibrium
from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_whole
from pnpfusion.solvers.callers import users_level
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning, FixedPointSolver
from pnpfusion.solvers.fixed_point.gradient import Gradient

Solved = TypeVar("Solved")


@dataclass(frozen=True, eq=False)
class FusionInfo:
    """What a layer can tell about one call."""

    succeeded: Tensor  #: whether the layer's solve has an answer: bool, (batch,) or (batch, tokens)
    iterations: Tensor  #: of its solve, likewise; 0 for layers without one
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Terms to add to the task's loss, by name; scalars with gradient."""
    solution: Solution | None = None  #: the run of the layer's law, where it has one; over rows
    iterates: bool = False  #: whether the layer takes a ``start``; see :class:`WarmStart`

    @classmethod
    def without_solve(cls, rows: int, device: torch.device) -> FusionInfo:
        """That of a layer that cannot fail.

        Args:
            rows: how many samples or tokens.
            device: where its tensors live.
        """
        none = torch.zeros(rows, dtype=torch.long, device=device)
        return cls(none == 0, none)


class FusionLayer(nn.Module, ABC):
    """Features of several modalities in, one feature of width ``out_dim`` out.

    A subclass writes :meth:`fuse`, row by row: what is done for one sample, or one token of it,
    does not depend on the others. It says its law, :attr:`dynamics`; None without one.

    Args:
        dims: the width of each modality, by name.
        out_dim: the width of what comes out.

    Raises:
        ValueError: no modality, or a width that is no whole number >= 1.
    """

    dynamics: Dynamics | None  #: the law whose run the layer is; None for layers without one

    def __init__(self, dims: Mapping[str, int], out_dim: int) -> None:
        super().__init__()
        if not isinstance(dims, Mapping) or not dims:
            raise ValueError(
                f'`dims` must map modalities to widths, e.g. {{"audio": 36}}, got {dims!r}.'
            )
        if unnamed := [name for name in dims if not isinstance(name, str)]:
            raise ValueError(f"`dims` must have strings as names, got {unnamed}.")
        for what, width in [*((f"dims[{n!r}]", w) for n, w in dims.items()), ("out_dim", out_dim)]:
            check_whole(what, width)
        self.dims = dict(dims)
        self.out_dim = out_dim

    def forward(
        self,
        inputs: Inputs,
        *,
        present: Present = None,
        return_info: bool = False,
        start: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, FusionInfo]:
        """The fused feature, ``(batch, out_dim)``, or ``(batch, tokens, out_dim)`` for tokens.

        Args:
            inputs: features (batch, d) or (batch, tokens, d), by modality or in the order of
                :attr:`dims`; None for a modality that is missing.
            present: which samples have a modality: bool, (batch,), by modality. What is not named
                is there.
            return_info: whether to return a :class:`FusionInfo` beside the feature.
            start: where layers that iterate to an equilibrium begin, (rows, *state), such as the
                ``info.solution.final`` of an earlier call; see :class:`pnpfusion.fusion.WarmStart`.
                None is zero. It is cast to the features' dtype and device, and has no gradient.

        Under autocast, layers that solve equations do so in the dtype of their parameters.

        Raises:
            ValueError: see :func:`read_inputs`; features of another dtype or on another device than
                the layer's parameters, or parameters of a dtype that its law cannot be run in.
        """
        batch, mixed = self._suited(self.read(inputs, present))
        first = next(iter(batch.features.values()))
        kind = first.device.type
        if start is not None:
            batch = replace(batch, start=self._checked_start(start, batch.rows, first))
        with torch.autocast(kind, enabled=mixed and not self.solves):
            fused, info = self.fuse(batch, return_info)
        fused = fused.reshape(*batch.shape, -1)
        if not return_info:
            return fused
        if info is None:
            info = FusionInfo.without_solve(batch.rows, fused.device)
        return fused, replace(
            info,
            succeeded=info.succeeded.reshape(batch.shape),
            iterations=info.iterations.reshape(batch.shape),
            iterates=self.iterates,
        )

    @property
    def iterates(self) -> bool:
        """Whether the layer iterates to an equilibrium, from where it is told."""
        return False

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.dims)

    @property
    def solves(self) -> bool:
        """Whether the layer solves equations, which needs the precision of its parameters."""
        return self.dynamics is not None

    def read(self, inputs: Inputs, present: Present = None) -> Batch:
        """The inputs of a call, checked and laid out row by row; see :func:`read_inputs`.

        Args:
            inputs: features by modality, or in the order of :attr:`dims`.
            present: which samples have a modality, bool (batch,), by its name.
        """
        return read_inputs(self.dims, inputs, present)

    @abstractmethod
    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """The fused rows, (rows, out_dim), and what there is to tell if ``return_info``.

        The info's tensors are per row; None stands for a layer that cannot fail.

        Args:
            batch: what :meth:`read` returned.
            return_info: whether there is anybody to tell.

        Returns:
            The rows, and None or what there is to tell.
        """

    def _checked_start(self, start: Tensor, rows: int, like: Tensor) -> Tensor:
        if not self.iterates or self.dynamics is None:
            raise ValueError(
                f"`start` is for layers that iterate to an equilibrium, which "
                f"{type(self).__name__} as it is set does not; leave it out."
            )
        wanted = (rows, *(self.dynamics.state_shape or ()))
        if not isinstance(start, Tensor) or tuple(start.shape) != wanted:
            got = tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__
            raise ValueError(f"`start` must be a tensor of shape {wanted}, got {got}.")
        weights = floating_parameter(self)
        return start.detach().to(like if weights is None else weights)

    def _suited(self, batch: Batch) -> tuple[Batch, bool]:
        """``batch`` as the layer can take it, and whether precision is mixed."""
        mixed = torch.is_autocast_enabled(next(iter(batch.features.values())).device.type)
        weights = floating_parameter(self)
        if weights is not None:
            self._check_precision(weights.dtype)
            if mixed:
                batch = _cast(batch, weights)
        for name, values in batch.features.items():
            check_like_parameters(self, f"inputs[{name!r}]", values, "layer")
        return batch, mixed

    def _check_precision(self, dtype: torch.dtype) -> None:
        if dtype in (torch.float32, torch.float64):
            return
        if self.solves or self.dynamics is not None:
            raise ValueError(
                f"this layer {'solves equations' if self.solves else 'runs a law'}, for which its "
                f"parameters must be float32 or float64, got {dtype}; take layer.float(). Under "
                f"torch.autocast its inputs may be torch.bfloat16."
            )

    def extra_repr(self) -> str:
        """The widths, for ``print(layer)``."""
        return f"dims={self.dims}, out_dim={self.out_dim}"


def uncompiled(solve: Callable[[], Solved]) -> Solved:
    """``solve()``, left alone by `torch.compile`: it ends by values, which no graph holds."""
    if torch.compiler.is_compiling():
        solve = torch.compiler.disable(solve)
    return solve()


def solve_to_rest(
    law: Dynamics,
    u0: Tensor,
    x: Input,
    *,
    solver: FixedPointSolver | None,
    tol: float | None,
    gradient: Gradient | None,
    advice: str,
) -> Solution:
    """The law's :func:`pnpfusion.equilibrium`, for :meth:`FusionLayer.fuse`.

    It is warned of samples without one, with ``advice`` on what to do.
    """
    run = uncompiled(lambda: equilibrium(law, u0, x=x, solver=solver, tol=tol, gradient=gradient))
    failed = int((~run.succeeded).sum())
    if failed:
        warn_unsolved(failed, run.succeeded.numel(), "the best iterate in its place", advice)
    return run


def warn_unsolved(failed: int, samples: int, instead: str, advice: str) -> None:
    """Say that samples have no answer, what they have ``instead``, and what to do."""
    warnings.warn(
        f"{failed} of {samples} samples did not reach their equilibrium and have {instead} "
        f"(`info.succeeded` names them); {advice} {Faq.UNSOLVED_IN_TRAINING}.",
        ConvergenceWarning,
        stacklevel=users_level(),
    )


def _cast(batch: Batch, weights: Tensor) -> Batch:
    """``batch`` in the dtype of ``weights``, as far as it is there with them."""
    features = {
        name: values.to(weights.dtype)
        if values.is_floating_point() and values.device == weights.device
        else values
        for name, values in batch.features.items()
    }
    return replace(batch, features=features)
