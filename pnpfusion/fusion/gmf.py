"""Generalized multimodal fusion (GMF): dissociate, exchange, reconstruct."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.fusion.dissociation import Dissociation
from pnpfusion.fusion.inputs import Batch, Inputs, Present, read_inputs
from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.solvers.arguments import check_choice, check_whole
from pnpfusion.solvers.callers import users_level

#: The closed choices, by argument.
CHOICES = {
    "detach": ("target", "input", "none"),
    "exchange": ("next-invariant", "own-invariant"),
    "others": ("ring", "mean"),
}


@dataclass(frozen=True, eq=False)
class Stages:
    """What a :class:`GMF` computes on its way, by modality; leading axes are those of its input."""

    invariant: dict[str, Tensor]  #: s_j, (..., l*)
    specific: dict[str, Tensor]  #: p_j, (..., l_j)
    exchanged: dict[str, Tensor]  #: Z_j, (..., l* + l_j), or (..., l* + l_{j+1}) for own-invariant
    reconstructed: dict[str, Tensor]  #: the features read back, (..., l_j); empty if folded


class GMF(FusionLayer):
    r"""Generalized multimodal fusion of d >= 2 modalities on a ring [GMF, version 1].

    With :math:`l^* = \min_j l_j` and :math:`b_j = \lfloor \beta n l_j \rfloor`, for every feature
    :math:`f_j` of width :math:`l_j`, by affine maps only,

    .. math::
        u_j &= A_j f_j + a_j \in R^{n l_j}, \\
        s_j &= C_j u_{j, 1 \dots b_j} + c_j \in R^{l^*}, \qquad
        p_j = S_j u_{j, b_j + 1 \dots n l_j} + e_j \in R^{l_j}, \\
        Z_j &= [s_{j+1 \bmod d}, p_j], \qquad \hat f_j = R_j Z_j + r_j, \\
        L &= \sum_j \mathrm{mean} (\hat f_j - f_j)^2,

    the invariant part :math:`s`, the specific part :math:`p`, the exchange (equation 17) and the
    reconstruction loss L (algorithm 3; equation 18 has the sum in place of the mean), which is
    ``info.losses["reconstruction"]``. The feature that comes out is :math:`[Z_0, \dots, Z_{d-1}]`.
    With a back end X it is :math:`[X(p_0, \dots, p_{d-1}), s_0, \dots, s_{d-1}]`, the paper's
    "G-X": invariants go around X, and Z serves the reconstruction only. Where ``out_dim`` is given,
    a linear map to it follows either.

    The maps are the paper's, initialised as `nn.Linear` is. For d > 2 the ring's order is the
    order of ``dims``: turning it round turns the outputs, any other permutation pairs modalities
    anew. An absent modality is a feature of zeros, in the loss too; with biases its parts are
    constants. A reconstruction without error says nothing about the invariants: where
    :math:`n l_j - b_j \ge l_j`, :math:`p_j` alone suffices for it.

    Args:
        dims: the width l_j of each modality, by name, in the order of the ring.
        out_dim: the width of what comes out; None for that of the concatenation.
        magnification: n, a whole number >= 1; the paper takes 4.
        boundary: the share beta of the units that is invariant; the paper takes 1/2.
        backend: the fusion layer X of the specifics, with the same ``dims``, or around encoders of
            them.
        bias: whether the maps above have constant terms (the paper's counts are with them).
        detach: what of L does not reach the features' origin, open in the paper: ``"target"``, the
            feature that L compares with; ``"input"``, everything (the maps are evaluated once more
            on detached features); ``"none"``.
        exchange: ``"next-invariant"``, as above; ``"own-invariant"`` for
            :math:`Z_j = [s_j, p_{j+1 \bmod d}]`, as the paper's theory has it (equation 14).
        others: ``"ring"``, as above; ``"mean"`` for the mean over all k other than j in place of
            j + 1, which does not depend on the order of ``dims``.

    Raises:
        ValueError: fewer than two modalities, a boundary that leaves one side of a modality empty,
            an unknown choice, or a back end for other widths.

    Warns:
        UserWarning: so few units on a side of the boundary that its part has not full rank.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        out_dim: int | None = None,
        *,
        magnification: int = 4,
        boundary: float = 0.5,
        backend: FusionLayer | None = None,
        bias: bool = True,
        detach: Literal["target", "input", "none"] = "target",
        exchange: Literal["next-invariant", "own-invariant"] = "next-invariant",
        others: Literal["ring", "mean"] = "ring",
    ) -> None:
        super().__init__(dims, 1 if out_dim is None else out_dim)
        given = {"detach": detach, "exchange": exchange, "others": others}
        for argument, choice in given.items():
            check_choice(argument, choice, CHOICES[argument])
        _check_ring(self.dims, magnification, boundary)
        _check_backend(self.dims, backend)
        self.magnification, self.boundary = magnification, boundary
        self.detach, self.exchange, self.others = detach, exchange, others
        names, widths = [*self.dims], [*self.dims.values()]
        shared = min(widths)
        specifics = widths if exchange == "next-invariant" else widths[1:] + widths[:1]
        if exchange == "own-invariant" and others == "mean" and len(set(widths)) > 1:
            raise ValueError(
                f"specifics of one width are needed for their mean, got `dims` {self.dims}; take "
                f'others="ring" or exchange="next-invariant".'
            )
        self.splits = nn.ModuleList()
        short = []
        for name, width in self.dims.items():
            units = magnification * width
            b = _units_invariant(boundary, units)
            self.splits.append(Dissociation(width, units, b, shared, bias=bias))
            if b < shared or units - b < width:
                short.append(f"{name!r} of {units} units into {b} and {units - b}")
        if short:
            warnings.warn(
                f"`boundary` {boundary} splits {', '.join(short)}: too few for parts of full rank, "
                f"which are {shared} invariants and as many specifics as `dims` says; raise "
                f"`magnification` or move `boundary`.",
                stacklevel=users_level(),
            )
        self.reconstructions: nn.ModuleList | None = nn.ModuleList(
            nn.Linear(shared + specific, width, bias=bias)
            for specific, width in zip(specifics, widths, strict=True)
        )
        self.backend = backend
        fused = sum(widths) if backend is None else backend.out_dim
        fused += len(names) * shared
        self.linear = None if out_dim is None else nn.Linear(fused, out_dim)
        self.out_dim = fused if out_dim is None else out_dim

    @property
    def dynamics(self) -> Dynamics | None:  # type: ignore[override]
        """The back end's law, where it has one."""
        return None if self.backend is None else self.backend.dynamics

    @property
    def solves(self) -> bool:
        """Whether the back end does; see :attr:`FusionLayer.solves`."""
        return self.backend is not None and self.backend.solves

    def stages(self, inputs: Inputs, *, present: Present = None) -> Stages:
        """The parts of ``inputs``, what they become by the exchange, and the reconstruction.

        Args:
            inputs: features by modality, or in the order of :attr:`dims`.
            present: which samples have a modality, bool (batch,), by its name.

        Raises:
            ValueError: see :func:`read_inputs`.
        """
        batch = read_inputs(self.dims, inputs, present)
        s, p = self._split({k: f.reshape(*batch.shape, -1) for k, f in batch.features.items()})
        exchanged = self._exchange(s, p)
        return Stages(s, p, exchanged, self._reconstruct(exchanged))

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        s, p = self._split(batch.features)
        info = None
        if self.backend is None:
            fused = torch.cat([*self._exchange(s, p).values()], 1)
        else:
            x = self.backend(p, return_info=return_info)
            x, info = x if return_info else (x, None)
            fused = torch.cat([x, *s.values()], 1)
        if self.linear is not None:
            fused = self.linear(fused)
        if not return_info:
            return fused, None
        if info is None:
            info = FusionInfo.without_solve(batch.rows, fused.device)
        if self.reconstructions is None:
            return fused, info
        losses = {
            "backend " * name.endswith("reconstruction") + name: loss
            for name, loss in info.losses.items()
        }
        losses["reconstruction"] = self._reconstruction_loss(batch.features, s, p)
        return fused, replace(info, losses=losses)

    def fold(self) -> GMF:
        """A copy for inference: the same output, from two maps per modality instead of three.

        All maps being affine, each part is one affine map of its feature. The copy has no
        reconstruction, hence no loss; magnification and boundary no longer count.
        """
        folded = copy.deepcopy(self)
        folded.splits = nn.ModuleList(
            split.fold() if isinstance(split, Dissociation) else split for split in folded.splits
        )
        folded.reconstructions = None
        return folded

    def extra_repr(self) -> str:
        """The widths and the choices, for ``print(layer)``."""
        choices = ", ".join(f"{name}={getattr(self, name)!r}" for name in CHOICES)
        return (
            f"{super().extra_repr()}, magnification={self.magnification}, "
            f"boundary={self.boundary}, {choices}" + ", folded" * (self.reconstructions is None)
        )

    def _split(self, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        parts = [split(f) for split, f in zip(self.splits, features.values(), strict=True)]
        s, p = zip(*parts, strict=True)
        return dict(zip(features, s, strict=True)), dict(zip(features, p, strict=True))

    def _exchange(self, s: Mapping[str, Tensor], p: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = [*s]
        exchanged = {}
        for j, name in enumerate(names):
            others = names[j + 1 :] + names[:j]
            swapped = s if self.exchange == "next-invariant" else p
            if self.others == "ring":
                arrived = swapped[others[0]]
            else:
                arrived = torch.stack([swapped[other] for other in others]).mean(0)
            pair = (arrived, p[name]) if swapped is s else (s[name], arrived)
            exchanged[name] = torch.cat(pair, -1)
        return exchanged

    def _reconstruct(self, exchanged: Mapping[str, Tensor]) -> dict[str, Tensor]:
        maps = self.reconstructions
        if maps is None:
            return {}
        return {k: read(z) for read, (k, z) in zip(maps, exchanged.items(), strict=True)}

    def _reconstruction_loss(
        self, features: Mapping[str, Tensor], s: Mapping[str, Tensor], p: Mapping[str, Tensor]
    ) -> Tensor:
        if self.detach == "input":
            features = {name: f.detach() for name, f in features.items()}
            s, p = self._split(features)
        found = self._reconstruct(self._exchange(s, p))
        if self.detach == "target":
            features = {name: f.detach() for name, f in features.items()}
        return torch.stack([mse_loss(found[name], f) for name, f in features.items()]).sum()


def _units_invariant(boundary: float, units: int) -> int:
    """The floor of boundary * units; round-off below a whole number does not count."""
    return math.floor(boundary * units + 1e-9)


def _check_ring(dims: Mapping[str, int], magnification: int, boundary: float) -> None:
    if len(dims) < 2:
        raise ValueError(f"`dims` must have two modalities or more to exchange, got {dims}.")
    check_whole("magnification", magnification)
    if isinstance(boundary, bool) or not isinstance(boundary, int | float):
        raise ValueError(f"`boundary` must be a number, got {boundary!r}.")
    for name, width in dims.items():
        units = magnification * width
        b = _units_invariant(boundary, units) if math.isfinite(boundary) else 0
        if not 1 <= b < units:
            raise ValueError(
                f"`boundary` must leave units on both sides, got {boundary}, which gives {b} of "
                f"{units} units of {name!r} to the invariant part; take a share such as 0.5."
            )


def _check_backend(dims: Mapping[str, int], backend: FusionLayer | None) -> None:
    if backend is None:
        return
    if not isinstance(backend, FusionLayer):
        raise ValueError(
            f"`backend` must be a fusion layer such as Concat(dims, out_dim), got "
            f"{type(backend).__name__}."
        )
    same_names = {*backend.modalities} == {*dims}
    told = backend.dims.items()  # a layer around encoders of your own has no widths
    if not same_names or any(dims[name] != width for name, width in told):
        takes = backend.dims or f"the modalities {[*backend.modalities]}"
        raise ValueError(
            f"`backend` must take the specifics, of widths {dict(dims)}; it takes {takes}."
        )
