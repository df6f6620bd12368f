"""Progressive fusion: what is fused goes back into the encoders, which are run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.place import Place
from pnpfusion.dynamics.progressive import Progressive as Law
from pnpfusion.fusion.inputs import Batch, Inputs, Present, read_samples
from pnpfusion.fusion.layer import FusionInfo, FusionLayer, solve_to_rest
from pnpfusion.run.unroll import unroll
from pnpfusion.solvers.arguments import check_known, check_whole
from pnpfusion.solvers.fixed_point.base import FixedPointSolver
from pnpfusion.solvers.fixed_point.gradient import Gradient


class Progressive(FusionLayer):
    r"""Late fusion whose encoders hear what was fused in the round before [STF22].

    .. math::
        z^{(0)} = 0, \qquad
        z^{(r)} = G\big(F_1(x_1; W_1 z^{(r-1)}), \dots, F_M(x_M; W_M z^{(r-1)})\big), \qquad
        y = z^{(R)}

    Here :math:`F_i` is linear, ReLU, linear, with the context added to the first linear map, and G
    linear, ReLU, linear on the concatenated encodings; :meth:`around` takes your own. With R = 1 it
    is plain late fusion; the parameters do not depend on R, and :attr:`rounds` may be changed at
    any time, though a model trained with one R promises nothing for another. R = None stands for
    the limit: the equilibrium, with its implicit gradient (see :func:`pnpfusion.equilibrium`); it
    exists where the feedback contracts. A sample for which it was not found gets the best iterate,
    with a :class:`pnpfusion.solvers.ConvergenceWarning`; ``info.succeeded`` says which ones.

    An absent modality is zero at its encoder, which still hears the context. The states of all
    rounds are in ``info.solution.states`` (R + 1, batch, out_dim), so that deep supervision is::

        fused, info = layer(inputs, return_info=True)
        loss = sum(criterion(head(z), y) for z in info.solution.states[1:])

    Args:
        dims: the width of each modality, by name.
        out_dim: the width q of z and y.
        rounds: R >= 1, or None.
        hidden: the width inside encoders and G.
        bottleneck: the width of each encoding.
        context: the width k_i of each context, one for all or one for each.
        detach: cut the gradient through the context; see :class:`pnpfusion.Progressive`.
        solver: of the equilibrium; None is Anderson's.
        tol: of the equilibrium; see :func:`pnpfusion.equilibrium`.
        gradient: None is that of the implicit function theorem; see there.

    Raises:
        ValueError: a size that is no whole number >= 1.
    """

    dynamics: Law

    def __init__(
        self,
        dims: Mapping[str, int],
        out_dim: int,
        *,
        rounds: int | None = 2,
        hidden: int = 64,
        bottleneck: int = 32,
        context: int | Mapping[str, int] = 32,
        detach: bool = False,
        solver: FixedPointSolver | None = None,
        tol: float | None = None,
        gradient: Gradient | None = None,
    ) -> None:
        super().__init__(dims, out_dim)
        for what, size in (("hidden", hidden), ("bottleneck", bottleneck)):
            check_whole(what, size)
        encoders = {
            name: nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, bottleneck))
            for name, d in self.dims.items()
        }
        fuse = nn.Sequential(
            _Concatenation(),
            nn.Linear(len(self.dims) * bottleneck, hidden),
            nn.ReLU(),
            nn.Linear(hidden, out_dim),
        )
        at = dict.fromkeys(self.dims, "0")
        self.dynamics = Law(encoders, fuse, width=out_dim, at=at, context=context, detach=detach)
        self.rounds, self.solver, self.tol = _checked_rounds(rounds), solver, tol
        self.gradient = gradient

    @classmethod
    def around(
        cls,
        encoders: Mapping[str, nn.Module],
        fuse: nn.Module,
        *,
        width: int,
        at: Mapping[str, str | Place],
        rounds: int | None = 2,
        context: int | Mapping[str, int] = 32,
        detach: bool = False,
        solver: FixedPointSolver | None = None,
        tol: float | None = None,
        gradient: Gradient | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> Progressive:
        """The layer around encoders and a fusion of your own.

        Its inputs are ``(batch, ...)`` of any shape and dtype that the encoders take, one fused
        feature per sample.

        Args:
            encoders: one per modality, batch first.
            fuse: from the list of encodings to (batch, width); other fusion layers take one too.
            width: the width of the fused feature.
            at: where the context enters each encoder; see :class:`pnpfusion.Progressive`. It must
                come before whatever the encoder loses, or it is of no use.
            rounds: R >= 1, or None; see above.
            context: see above.
            detach: see above.
            solver: see above.
            tol: see above.
            gradient: see above.
            shapes: the shape of one sample of each modality that may be None as a whole.

        Raises:
            ValueError: see :class:`pnpfusion.Progressive`; a shape of no known modality.
        """
        law = Law(encoders, fuse, width=width, at=at, context=context, detach=detach)
        return _Around(law, _checked_rounds(rounds), solver, tol, gradient, shapes or {})

    @property
    def solves(self) -> bool:
        """See :attr:`FusionLayer.solves`; a few rounds are a network like others."""
        return self.rounds is None

    @property
    def iterates(self) -> bool:
        """See :attr:`FusionLayer.iterates`."""
        return self.rounds is None

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        law = self.dynamics
        start = law.start(batch.rows) if batch.start is None else batch.start
        x = law.begin(batch.features, (batch.rows,))
        if self.rounds is None:
            run = solve_to_rest(
                law,
                start,
                x,
                solver=self.solver,
                tol=self.tol,
                gradient=self.gradient,
                advice="train with a few `rounds`, make the context's weights smaller, so that a "
                "round contracts, or give a `solver` with more `max_evaluations`",
            )
        else:
            run = unroll(law, start, self.rounds, x=x)
        return run.final, FusionInfo(run.succeeded, run.work.rate_calls, solution=run)

    def extra_repr(self) -> str:
        """Widths and rounds, for ``print(layer)``."""
        return f"{super().extra_repr()}, rounds={self.rounds}"


class _Around(Progressive):
    """Progressive fusion around modules whose inputs have any shape."""

    def __init__(
        self,
        law: Law,
        rounds: int | None,
        solver: FixedPointSolver | None,
        tol: float | None,
        gradient: Gradient | None,
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        nn.Module.__init__(self)
        check_known("shapes", shapes, law.modalities, "modalities")
        self.shapes = {name: _shape(shapes.get(name)) for name in law.modalities}
        self.dims = {}  # the encoders know
        self.out_dim = law.width
        self.dynamics = law
        self.rounds, self.solver, self.tol, self.gradient = rounds, solver, tol, gradient

    @property
    def modalities(self) -> tuple[str, ...]:
        """See :attr:`FusionLayer.modalities`."""
        return self.dynamics.modalities

    def _get_name(self) -> str:
        return Progressive.__name__

    def read(self, inputs: Inputs, present: Present = None) -> Batch:
        """See :meth:`FusionLayer.read`; here of any shape."""
        return read_samples(self.shapes, inputs, present)

    def extra_repr(self) -> str:
        """Modalities, width and rounds, for ``print(layer)``."""
        return f"modalities={[*self.shapes]}, out_dim={self.out_dim}, rounds={self.rounds}"


class _Concatenation(nn.Module):
    """The encodings side by side."""

    def forward(self, encodings: Sequence[Tensor]) -> Tensor:
        return torch.cat([*encodings], -1)


def _shape(shape: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if shape is None else tuple(shape)


def _checked_rounds(rounds: int | None) -> int | None:
    check_whole("rounds", rounds, or_none=True)
    return rounds
