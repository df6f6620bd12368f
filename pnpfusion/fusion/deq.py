"""Deep equilibrium fusion: the fused feature is where a cell comes to rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.contractive_deq import ContractiveDEQ
from pnpfusion.dynamics.deq import DEQ as PaperDEQ
from pnpfusion.dynamics.deq_law import DEQLaw
from pnpfusion.dynamics.input import Input
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer, solve_to_rest
from pnpfusion.run.unroll import unroll
from pnpfusion.solvers.arguments import check_whole
from pnpfusion.solvers.fixed_point.base import FixedPointSolver
from pnpfusion.solvers.fixed_point.gradient import Gradient
from pnpfusion.solvers.fixed_point.jacobian import jacobian_penalty

LEAST_WIDTH = 32  #: of the paper's cell, where it is ours to choose
GROUPS = 4  #: of the paper's norms, which the width must be a multiple of


class DEQ(FusionLayer):
    r"""Deep equilibrium fusion [NBZ23]: :math:`z^* = f(z^*; x)`, and y is its fused part.

    Each modality is projected to a common width d, the cell is solved from z = 0 or a ``start``,
    the fused state :math:`z_f^*` is y, projected where d is not ``out_dim``. An absent modality
    leaves the cell's sums. A sample whose equilibrium was not found gets the best iterate, with a
    :class:`pnpfusion.solvers.ConvergenceWarning`; ``info.succeeded`` says which ones.

    Args:
        dims: the width of each modality, by name.
        out_dim: the width of y.
        cell: f. "contractive" (:class:`pnpfusion.ContractiveDEQ`) has one equilibrium, which Picard
            iteration finds. "paper" is the published cell (:class:`pnpfusion.DEQ`); where all
            widths are d, nothing is projected before it. Or a law of yours, such as
            ``pnpfusion.DEQ(3, 64, norm="rms")``.
        width: d; None is that of the law given, else ``out_dim``. For the paper's cell d is a
            multiple of 4: None is the width of all modalities if they have such a one above 4, else
            the next multiple from ``out_dim``, at least 32.
        rounds: R >= 1 to apply the cell R times, with the gradient through all of them, instead of
            solving for its equilibrium.
        solver: of the equilibrium; None is the law's own.
        tol: of the equilibrium; see :func:`pnpfusion.equilibrium`.
        gradient: None is that of the implicit function theorem; see there.
        jacobian_probes: random vectors for the penalty ``info.losses["jacobian"]``, an estimate of
            :math:`\|\partial f / \partial z\|_F^2 / ((N + 1) d)` at the equilibrium; 0 for no
            penalty. None is 2 for the paper's cell, and 0 for others and with ``rounds``. There is
            none under `torch.inference_mode`.

    Raises:
        ValueError: an option is none of those, or the law given does not fit.
    """

    dynamics: DEQLaw

    def __init__(
        self,
        dims: Mapping[str, int],
        out_dim: int,
        *,
        cell: Literal["contractive", "paper"] | DEQLaw = "contractive",
        width: int | None = None,
        rounds: int | None = None,
        solver: FixedPointSolver | None = None,
        tol: float | None = None,
        gradient: Gradient | None = None,
        jacobian_probes: int | None = None,
    ) -> None:
        super().__init__(dims, out_dim)
        check_whole("rounds", rounds, or_none=True)
        check_whole("jacobian_probes", jacobian_probes, 0, or_none=True)
        self.dynamics = _law(cell, self.dims, out_dim, width)
        d = self.dynamics.width
        is_paper = isinstance(self.dynamics, PaperDEQ)
        if jacobian_probes is None:
            jacobian_probes = 2 if is_paper and rounds is None else 0
        bare = is_paper and set(self.dims.values()) == {d}
        self.projections = nn.ModuleList(
            nn.Identity() if bare else nn.Linear(own, d) for own in self.dims.values()
        )
        self.output = nn.Identity() if d == out_dim else nn.Linear(d, out_dim)
        self.rounds, self.solver, self.tol, self.gradient = rounds, solver, tol, gradient
        self.jacobian_probes = jacobian_probes
        self.register_load_state_dict_pre_hook(_take_bare_keys)  # type: ignore[no-untyped-call]

    @property
    def iterates(self) -> bool:
        """See :attr:`FusionLayer.iterates`."""
        return self.rounds is None

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        law = self.dynamics
        values = zip(self.projections, batch.features.values(), strict=True)
        features = torch.stack([project(own) for project, own in values], 1)
        x: Input = features
        if batch.present is not None:
            x = {"features": features, "present": batch.present}
        start = batch.start
        if start is None:
            start = features.new_zeros(batch.rows, *law.state_shape)
        if self.rounds is not None:
            run = unroll(law, start, self.rounds, x=x)
        else:
            run = solve_to_rest(
                law,
                start,
                x,
                solver=self.solver,
                tol=self.tol,
                gradient=self.gradient,
                advice='use cell="contractive", train with info.losses["jacobian"], or give a '
                "`solver` with more `max_evaluations`",
            )
        fused = self.output(run.final[:, -1])
        if not return_info:
            return fused, None
        losses = {}
        if self.jacobian_probes and not torch.is_inference_mode_enabled():
            losses["jacobian"] = jacobian_penalty(
                lambda z, _: law.rate(z.new_zeros(()), z, x), run.final, probes=self.jacobian_probes
            )
        return fused, FusionInfo(run.succeeded, run.work.rate_calls, losses, run)

    def extra_repr(self) -> str:
        """Widths and rounds, for ``print(layer)``."""
        return f"{super().extra_repr()}, rounds={self.rounds}"


def _law(cell: str | DEQLaw, dims: Mapping[str, int], out_dim: int, width: int | None) -> DEQLaw:
    if isinstance(cell, DEQLaw):
        if cell.modalities != len(dims) or width not in (None, cell.width):
            raise ValueError(
                f"`cell` must be a law of {len(dims)} modalities, and of `width` where that is "
                f"given ({width}); got {cell!r}."
            )
        return cell
    if cell not in ("contractive", "paper"):
        raise ValueError(f'`cell` must be "contractive", "paper" or a DEQ law, got {cell!r}.')
    if cell == "contractive":
        return ContractiveDEQ(len(dims), out_dim if width is None else width)
    if width is None:
        own = set(dims.values())
        common = own.pop() if len(own) == 1 else 0
        if common % GROUPS or common <= GROUPS:  # none, or of no use to the norms
            common = max(-(-out_dim // GROUPS) * GROUPS, LEAST_WIDTH)
        width = common
    elif isinstance(width, int) and width > 0 and width % GROUPS:
        groups = next(k for k in range(GROUPS, 0, -1) if width % k == 0)
        raise ValueError(
            f"`width` of the paper's cell must be a multiple of {GROUPS}, got {width}; take "
            f"width={-(-width // GROUPS) * GROUPS}, or other groups in its norms: "
            f"cell=pnpfusion.DEQ({len(dims)}, {width}, groups={groups})."
        )
    return PaperDEQ(len(dims), width)


def _take_bare_keys(layer: DEQ, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Where ``state_dict`` holds the law's keys without the layer's prefix, add it."""
    keys = layer.dynamics.state_dict().keys()
    if any(f"{prefix}dynamics.{key}" in state_dict for key in keys):
        return
    for key in keys:
        if f"{prefix}{key}" in state_dict:
            state_dict[f"{prefix}dynamics.{key}"] = state_dict.pop(f"{prefix}{key}")
