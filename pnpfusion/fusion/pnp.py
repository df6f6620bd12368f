"""The fusion layer that is a PNP simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from pnpfusion.dynamics.pnp import PNP as Law
from pnpfusion.fusion.inputs import Batch, Inputs, Present
from pnpfusion.fusion.layer import FusionInfo, FusionLayer, uncompiled, warn_unsolved
from pnpfusion.fusion.pnp_attribution import Attribution
from pnpfusion.fusion.pnp_cells import Cells, Outset
from pnpfusion.fusion.pnp_encoder import Encoder
from pnpfusion.fusion.pnp_migration import DissociationBy, MigratingIons, Reading
from pnpfusion.fusion.pnp_rest import RestingCells
from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_choice, check_whole

Run = Literal["equilibrium", "transient"]


class PNP(FusionLayer):
    r"""Fusion by charged particles in a shared potential.

    ``run="equilibrium"``: each modality m becomes fixed charge :math:`q_m` on ``channels`` small
    cells of electrolyte, the charges of all modalities add up, and the cell comes to rest,

    .. math:: -\varepsilon\phi'' + 2 c_0 \sinh\phi = \sum_m q_m(x_m), \qquad
              y = W [\phi, \ln(1 + c_+ + c_- - 2 c_0), \textstyle\sum_m q_m] + b.

    The state of rest is the minimum of a convex function: it exists, is unique, and is found from
    anywhere, so that this is an equilibrium layer which cannot fail to converge but by round-off.

    ``run="transient"``: the features of each modality dissociate into cations and anions in closed
    cells, by two maps that are positive; the ions of all modalities migrate for a short time in the
    applied potential and in the field that they make together, and y is linear in the potential and
    the density of ions that come of it, and in the ions that there were,

    .. math:: \partial_t c_\pm = \partial_x D_\pm (\partial_x c_\pm \pm c_\pm \partial_x \phi),
              \quad -\varepsilon\phi'' = c_+ - c_-, \qquad
              y = W [(\phi, c_+ + c_-)_{t=T}, (c_+, c_-)_{t=0}] + b.

    ``info.losses["reconstruction"]`` is the error of features that are read back from there.

    One Poisson equation for all modalities is what fuses: y holds products of them though all maps
    are linear, at rest by the density of ions, which is even in the potential, and in time by the
    drift of the ions of one in the field of another. An absent modality is neutral: it brings no
    fixed charge, or as many cations as anions everywhere.

    It learns well at higher learning rates than usual networks, such as Adam's 1e-2; the first call
    compiles the solver, which takes seconds, once for an installation.

    Args:
        dims: the width of each modality, by name.
        out_dim: the width of y.
        run: see above.
        encoder: the map from features to particles, ``"linear"`` or ``"mlp"`` with one hidden
            layer.
        coupled: whether the modalities share cells. If not, each has cells of its own, and y is a
            sum of functions of one modality each: the comparison that shows what sharing does.
        channels: how many cells stand side by side, each of its own learned parameters.
        cells: grid cells of each.
        hidden: the width of an mlp's hidden layer.
        debye_length: of all channels, in L, and not learned; None learns one of each.
        duration: T of a transient run, in L²/D_ref.
        steps: of how many steps it is made; they are semi-implicit, of first order, positive and
            conservative at any length.
        dissociation: of a transient run: ``"direct"``, or ``"reaction"``, where features are a
            neutral solute that makes ions by mass action of learned rates as they migrate, in
            steps that are not compiled and take many times as long.
        reading: what of a transient run is read: ``"both"``, as above, or its ``"end"`` or its
            ``"start"`` alone; with the latter nothing is reconstructed.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        out_dim: int,
        *,
        run: Run = "equilibrium",
        encoder: Encoder = "linear",
        coupled: bool = True,
        channels: int = 8,
        cells: int = 16,
        hidden: int = 64,
        debye_length: float | None = None,
        duration: float = 0.3,
        steps: int = 4,
        dissociation: DissociationBy = "direct",
        reading: Reading = "both",
    ) -> None:
        super().__init__(dims, out_dim)
        check_choice("run", run, get_args(Run))
        check_choice("encoder", encoder, get_args(Encoder))
        check_choice("dissociation", dissociation, get_args(DissociationBy))
        check_choice("reading", reading, get_args(Reading))
        check_whole("channels", channels)
        check_whole("cells", cells, 2)
        check_whole("hidden", hidden)
        check_whole("steps", steps)
        number = isinstance(duration, int | float) and not isinstance(duration, bool)
        if not number or not 0 < duration < 1e6:
            raise ValueError(f"`duration` must be a number between 0 and 1e6, got {duration!r}.")
        if not isinstance(coupled, bool):
            raise ValueError(f"`coupled` must be True or False, got {coupled!r}.")
        self.run, self.coupled = run, coupled
        kind: Callable[..., Cells] = RestingCells
        if run == "transient":
            kind = partial(
                MigratingIons,
                duration=duration,
                steps=steps,
                dissociation=dissociation,
                reading=reading,
            )
        #: What runs; parameters are set by e.g. ``cells.debye_length.assign(...)``.
        self.cells = kind(
            self.dims,
            encoder=encoder,
            hidden=hidden,
            coupled=coupled,
            channels=channels,
            cells=cells,
            debye_length=debye_length,
        )
        self.out = nn.Linear(self.cells.numbers, out_dim)

    @property
    def dynamics(self) -> Law:  # type: ignore[override]
        """The law with the parameters as they are now; its batch ends in channels."""
        return self.cells.law

    @property
    def debye_length(self) -> Tensor:
        """The Debye length, (channels,), in L.

        Of the salt in the reservoir; in a transient run of ions of concentration 1.
        """
        return self.cells.debye_length.values

    @property
    def permittivity(self) -> Tensor:
        r""":math:`\varepsilon = 2 \lambda^2 c_0`, (channels,); :math:`c_0` is 1 if transient."""
        return self.cells.permittivity

    @property
    def concentration(self) -> Tensor:
        """Of each ion where nothing charges the cell, (channels,), in c_ref.

        At rest in the reservoir; in a transient run of an absent modality.
        """
        return self.cells.concentration.values

    @property
    def applied_potential(self) -> Tensor:
        """Of the wall ``"x+"`` against ``"x-"``, (channels,), in kT/e."""
        return self.cells.applied_potential.values

    @property
    def diffusivity(self) -> Tensor | None:
        """Of cations, anions (and solute), (channels, 2 or 3), in D_ref; None at rest."""
        cells = self.cells
        return cells.diffusivity.values if isinstance(cells, MigratingIons) else None

    @property
    def reaction_rates(self) -> Tensor | None:
        """Of dissociation and of recombination, (channels, 2); None without a reaction."""
        cells = self.cells
        return cells.rates.values if isinstance(cells, MigratingIons) and cells.reacts else None

    def attribution(self, inputs: Inputs, *, present: Present = None) -> Attribution:
        """What each modality does in the shared cells, by its part in the potential.

        A :class:`ChargeAttribution` at rest, an :class:`IonAttribution` of a transient run.

        Args:
            inputs: as :meth:`forward` takes them; tokens are rows.
            present: likewise.

        Raises:
            ValueError: modalities that share nothing, ions made by a reaction, or wrong inputs
                (see :func:`read_inputs`).
        """
        if not self.coupled:
            raise ValueError(
                "`attribution` asks what each modality does in a shared cell; with coupled=False "
                "each has cells of its own."
            )
        batch, _ = self._suited(self.read(inputs, present))
        law, outset = self.dynamics, self.cells.outset(batch)
        final = self.cells.reach(law, outset).final
        return self.cells.attribute([*self.dims], law, outset, final)

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        outset = self.cells.outset(batch)
        run = None
        if return_info:
            run = uncompiled(lambda: self.cells.run(self.dynamics, outset))
        read, good = self._answer(outset, run)
        fused = self.out(read)
        if run is None:
            return fused, None
        info = FusionInfo(
            good.flatten(1).all(1),
            (run.work.iterations + run.work.steps).flatten(1).amax(1),
            self.cells.reconstruct(read, batch),
            run,
        )
        return fused, info

    def _answer(self, outset: Outset, run: Solution | None) -> tuple[Tensor, Tensor]:
        """See :meth:`Cells.answer`; it is warned of cells without one."""
        read, good = uncompiled(lambda: self.cells.answer(outset, run))
        if not bool(good.all()):
            warn_unsolved(
                int((~good.flatten(1).all(1)).sum()),
                len(good),
                "cells without features in their place",
                "their features charge the cells beyond all measure; scale them",
            )
        return read, good
