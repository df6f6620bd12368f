r"""Signed features as charged species on a grid, and back.

Feature i of a modality with n features occupies the cells :math:`j` of N with
:math:`\lfloor j n / N \rfloor = i`: one block of neighbours, at least one cell if N >= n. Its
positive part becomes a cation there and its negative part an anion, both over a background b:

.. math::
    c_+ = b + \tfrac12(|f| + f), \qquad c_- = b + \tfrac12(|f| - f), \qquad f = c_+ - c_-,

so that the map is injective, and its inverse the mean of :math:`c_+ - c_-` over the block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.arguments import check_floats, check_known
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.field import Parameter
from pnpfusion.solvers.grid import Grid

__all__ = ["FeatureMap"]

_IONS = ("cation", "anion")


@dataclass(frozen=True, eq=False)
class FeatureMap:
    r"""The map between features of several modalities and the species of one PNP cell.

    Each modality becomes a pair of species of opposite valence, ``"audio cation"`` and
    ``"audio anion"``, in the order of ``dims``; see the equation in :mod:`pnpfusion.fields`. At 0
    the gradients of the two ions are 1/2 and -1/2, so that of their difference is always 1.

    Raises:
        ValueError: no modality, an empty one, a grid with fewer cells than a modality has features,
            a background below 0, or a valence that is not positive or names no modality.
    """

    dims: Mapping[str, int]  #: how many features each modality has
    grid: Grid  #: the box; one axis, equal or graded cells
    _: KW_ONLY
    background: float = 1.0  #: b >= 0, the concentration where a feature is 0, in c_ref
    valence: float | Tensor | Mapping[str, float | Tensor] = 1.0
    """Charge number z > 0 of the cations, -z of the anions: one, or by modality (1 if unnamed)."""

    def __post_init__(self) -> None:
        if not isinstance(self.dims, Mapping) or not self.dims:
            raise ValueError(
                f"`dims` must map at least one modality to its number of features, got "
                f'{self.dims!r}; e.g. {{"audio": 36, "motion": 16}}.'
            )
        if not isinstance(self.grid, Grid) or self.grid.ndim != 1:
            got = getattr(self.grid, "shape", type(self.grid).__name__)
            raise ValueError(f"`grid` must be a Grid of one axis, got {got}.")
        for name, n in self.dims.items():
            if isinstance(n, bool) or not isinstance(n, int) or n < 1:
                raise ValueError(
                    f"`dims[{name!r}]` must be a whole number of features >= 1, got {n!r}; "
                    f"leave an empty modality out."
                )
            if n > self.cells:
                raise ValueError(
                    f"`grid` has {self.cells} cells, fewer than the {n} features of {name!r}; each "
                    f"feature needs a cell of its own, so give it {n} cells or more."
                )
        if not (math.isfinite(self.background) and self.background >= 0):
            raise ValueError(f"`background` must be finite and >= 0, got {self.background}.")
        object.__setattr__(self, "dims", dict(self.dims))
        if isinstance(self.valence, Mapping):
            check_known("valence", self.valence, self.dims, "modalities")
            object.__setattr__(self, "valence", dict(self.valence))
        for name in self.dims:
            values = torch.as_tensor(self._valence(name)).detach()
            if not (values.isfinite() & (values > 0)).all():
                raise ValueError(
                    f"`valence` of {name!r} must be finite and > 0, got {self._valence(name)}; "
                    f"anions take its negative by themselves."
                )

    @property
    def cells(self) -> int:
        """N, the number of cells."""
        return self.grid.shape[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The species' names, in the order of the state."""
        return tuple(f"{modality} {ion}" for modality in self.dims for ion in _IONS)

    def species(self, *, diffusivity: Parameter | Mapping[str, Parameter] = 1.0) -> list[Species]:
        """The cell's species, a cation and an anion per modality.

        Args:
            diffusivity: D > 0 in D_ref, one for all; or by modality (``"audio"``) and by species
                (``"audio anion"``, which goes first), 1 for those it does not name.

        Raises:
            ValueError: a name that is neither a modality nor a species.
        """
        given = diffusivity if isinstance(diffusivity, Mapping) else None
        if given is not None:
            check_known("diffusivity", given, (*self.dims, *self.names), "names")
        pairs = []
        for modality in self.dims:
            z = self._valence(modality)
            for ion, charge in zip(_IONS, (z, -z), strict=True):
                name = f"{modality} {ion}"
                if isinstance(diffusivity, Mapping):
                    d = diffusivity.get(name, diffusivity.get(modality, 1.0))
                else:
                    d = diffusivity
                pairs.append(Species(name, valence=charge, diffusivity=d))
        return pairs

    def fields(self, features: Mapping[str, Tensor]) -> Tensor:
        """The concentrations that hold ``features``; differentiable.

        Args:
            features: for each modality its features, ``(*batch, n)``, of one dtype (float32 or
                float64) and device; their unit is c_ref.

        Returns:
            Concentrations ``(*batch, 2 * len(dims), N)``, in c_ref.

        Raises:
            ValueError: a modality is missing, unknown or of the wrong width, batch axes or dtypes
                differ, or a feature is not finite.
        """
        self._check(features)
        rows = []
        for name in self.dims:
            spread = features[name][..., self._block(name).to(features[name].device)]
            size = spread.abs()
            rows += [self.background + (size + spread) / 2, self.background + (size - spread) / 2]
        return torch.stack(rows, -2)

    def features(self, c: Tensor) -> dict[str, Tensor]:
        r"""What concentrations hold; the inverse of :meth:`fields` to round-off; differentiable.

        .. math:: f_i = \sum_{j \in i} w_j (c_{+,j} - c_{-,j}) \Big/ \sum_{j \in i} w_j

        over the cells j of feature i, with cell volumes w.

        Args:
            c: concentrations, ``(*batch, 2 * len(dims), N)``, in c_ref.

        Returns:
            For each modality ``(*batch, n)``, in c_ref.

        Raises:
            ValueError: ``c`` has another shape or is not floating point.
        """
        self._check_state(c)
        weights = self.grid.weights.to(c)
        found = {}
        for k, (name, n) in enumerate(self.dims.items()):
            member = torch.nn.functional.one_hot(self._block(name).to(c.device), n).to(c)
            share = member * weights[:, None]
            excess = c[..., 2 * k, :] - c[..., 2 * k + 1, :]
            found[name] = excess @ (share / share.sum(0))
        return found

    def neutralising_charge(self, c: Tensor) -> Tensor:
        """The uniform fixed charge that makes the cell neutral, ``(*batch,)``, in F c_ref.

        A cell whose potential floats (periodic, or walls without charge or potential) needs it:
        ``PNP(..., fixed_charge=map.neutralising_charge(c0))``.

        Args:
            c: concentrations, ``(*batch, 2 * len(dims), N)``, in c_ref.

        Raises:
            ValueError: ``c`` has another shape or is not floating point.
        """
        self._check_state(c)
        weights = self.grid.weights.to(c)
        mean = (c * weights).sum(-1) / weights.sum()
        charge = torch.zeros_like(mean[..., 0])
        for k, name in enumerate(self.dims):
            z = torch.as_tensor(self._valence(name)).to(c)
            charge = charge - z * (mean[..., 2 * k] - mean[..., 2 * k + 1])
        return charge

    def _valence(self, modality: str) -> float | Tensor:
        if isinstance(self.valence, Mapping):
            return self.valence.get(modality, 1.0)
        return self.valence

    def _block(self, modality: str) -> Tensor:
        """The feature that each cell holds, ``(N,)``."""
        return torch.arange(self.cells) * self.dims[modality] // self.cells

    def _check_state(self, c: Tensor) -> None:
        self.grid.check("c", c)
        if c.ndim < 2 or c.shape[-2] != 2 * len(self.dims):
            raise ValueError(
                f"`c` must be (*batch, {2 * len(self.dims)}, {self.cells}), a cation and an anion "
                f"per modality, got {tuple(c.shape)}."
            )

    def _check(self, features: Mapping[str, Tensor]) -> None:
        if not isinstance(features, Mapping):
            raise ValueError(
                f"`features` must map modalities to tensors, got {type(features).__name__}; "
                f"wanted {list(self.dims)}."
            )
        check_known("features", features, self.dims, "modalities")
        if missing := [name for name in self.dims if name not in features]:
            raise ValueError(
                f"`features` lacks {missing}; give each of {list(self.dims)} (zeros say nothing: "
                f"they leave the background) {Faq.MISSING_MODALITY}."
            )
        first = next(iter(self.dims))
        for name, n in self.dims.items():
            _check_modality(name, features[name], n)
            for what in ("dtype", "device"):
                one, other = getattr(features[first], what), getattr(features[name], what)
                if one != other:
                    raise ValueError(
                        f"`features` must have one {what}, got {one} for {first!r} and {other} for "
                        f"{name!r}; convert with .to(...) {Faq.WRONG_SHAPE}."
                    )
            one, other = tuple(features[first].shape[:-1]), tuple(features[name].shape[:-1])
            if one != other:
                raise ValueError(
                    f"`features` must have the same batch axes, got {one} for {first!r} and "
                    f"{other} for {name!r} {Faq.WRONG_SHAPE}."
                )


def _check_modality(name: str, values: Tensor, n: int) -> None:
    check_floats(f"features[{name!r}]", values)
    if values.ndim < 1 or values.shape[-1] != n:
        raise ValueError(
            f"`features[{name!r}]` must be (*batch, {n}), got {tuple(values.shape)}"
            f" {Faq.WRONG_SHAPE}."
        )
    wrong = ~values.detach().isfinite()
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"`features[{name!r}]` must be finite, got {float(values.detach()[at])} at {at}; "
            f"impute or drop it first {Faq.BAD_NUMBERS}."
        )


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())
