r"""Mass action: species that turn into one another in place.

.. math:: \sum_i \nu_i^- A_i \rightleftharpoons \sum_i \nu_i^+ A_i, \qquad
          r = k_f \prod_i c_i^{\nu_i^-} - k_b \prod_i c_i^{\nu_i^+}, \qquad
          R_i = (\nu_i^+ - \nu_i^-)\, r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pnpfusion.solvers.field import Parameter, spread
from pnpfusion.solvers.implicit_solve import is_followed


@dataclass(frozen=True, eq=False)
class Reaction:
    r"""A reversible reaction by mass action, e.g. a salt that dissociates into its ions.

    ``Reaction(["salt"], ["cation", "anion"], forward=2.0, backward=0.5)`` has the rate
    :math:`r = 2\,c_{salt} - 0.5\,c_{cation} c_{anion}`; a name that stands twice counts twice.

    Raises:
        ValueError: a side without species, or negative constants.
    """

    reactants: Sequence[str]  #: names of the species consumed
    products: Sequence[str]  #: names of the species made
    forward: Parameter  #: k_f >= 0; in D_ref / L^2 c_ref^(1 - number of reactants)
    backward: Parameter = 0.0  #: k_b >= 0; in D_ref / L^2 c_ref^(1 - number of products)

    def __post_init__(self) -> None:
        for side in ("reactants", "products"):
            names = getattr(self, side)
            if isinstance(names, str) or not names:
                raise ValueError(
                    f"`{side}` must be a list of species names, got {names!r}; e.g. ['salt']."
                )
            object.__setattr__(self, side, tuple(names))
        for what in ("forward", "backward"):
            value = getattr(self, what)
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"`{what}` of {self} must be >= 0, got {value}.")

    def __str__(self) -> str:
        return f"{' + '.join(self.reactants)} <=> {' + '.join(self.products)}"


Row = tuple[Tensor, Tensor, Tensor, Tensor]  #: of one reaction: k_f, k_b, before, after


@dataclass(frozen=True, eq=False)
class MassAction:
    """The reactions of one cell, spread over a batch; R reactions of S species."""

    before: Tensor  #: how often each species stands among the reactants, whole numbers, (R, S)
    after: Tensor  #: and among the products, (R, S)
    forward: tuple[Tensor, ...]  #: k_f of each reaction, (B|1, *grid.shape|1)
    backward: tuple[Tensor, ...]  #: k_b, likewise

    @classmethod
    def build(
        cls,
        reactions: Sequence[Reaction],
        names: Sequence[str],
        shape: tuple[int, ...],
        batch: tuple[int, ...],
        like: Tensor,
    ) -> MassAction | None:
        """Check the reactions and spread their constants; None if there are none."""
        if not reactions:
            return None
        counts = torch.zeros(2, len(reactions), len(names))
        constants: tuple[list[Tensor], list[Tensor]] = ([], [])
        for row, reaction in enumerate(reactions):
            if not isinstance(reaction, Reaction):
                raise ValueError(
                    f"`reactions` must hold Reaction objects, got {type(reaction).__name__}."
                )
            for side, members in enumerate((reaction.reactants, reaction.products)):
                for name in members:
                    if name not in names:
                        raise ValueError(
                            f"the reaction {reaction} names {name!r}, but the species are "
                            f"{list(names)}."
                        )
                    counts[side, row, list(names).index(name)] += 1
            if not (counts[0, row] != counts[1, row]).any():
                raise ValueError(f"the reaction {reaction} changes nothing.")
            for side, what in enumerate(("forward", "backward")):
                label = f"{what} of {reaction}"
                value = spread(label, getattr(reaction, what), shape, batch, like)
                if (value.detach() < 0).any():
                    raise ValueError(f"`{label}` must be >= 0, got {float(value.detach().min())}.")
                off = value.detach().flatten(1) == 0
                if off.any() and not off.all():
                    raise ValueError(
                        f"`{label}` must be > 0 everywhere or 0 everywhere: a reaction runs both "
                        f"ways or not in all samples and cells alike."
                    )
                constants[side].append(value)
        before, after = counts.to(like)
        return cls(before, after, tuple(constants[0]), tuple(constants[1]))

    def samples(self, part: slice) -> MassAction:
        """Those of a part of the batch."""
        sides = (self.forward, self.backward)
        forward, backward = (tuple(k if len(k) == 1 else k[part] for k in ks) for ks in sides)
        return replace(self, forward=forward, backward=backward)

    @property
    def stoichiometry(self) -> Tensor:
        """How many of each species one turn of each reaction makes, ``(R, S)``."""
        return self.after - self.before

    def check_charge(self, valence: Tensor, names: Sequence[Reaction]) -> None:
        """Raise ValueError if a reaction makes charge; ``valence`` is ``(B|1, S, ...)``."""
        made = torch.einsum("rs,bs->br", self.stoichiometry, valence.detach().flatten(1))
        if (made.abs() > 1e-6).any():
            worst = int(made.abs().amax(0).argmax())
            raise ValueError(
                f"the reaction {names[worst]} makes a charge of {float(made[:, worst].max()):g}; "
                f"its two sides must carry the same."
            )

    def standard_potentials(self) -> Tensor:
        r"""The :math:`\mu^0` of detailed balance, ``(B|1, S, *grid.shape|1)``.

        The smallest with :math:`\sum_i (\nu_i^+ - \nu_i^-) \mu_i^0 = -\ln(k_f / k_b)` for the
        reactions that run both ways; the others count as if they did not run.
        """
        drives = []
        for f, b in zip(self.forward, self.backward, strict=True):
            both = (f > 0) & (b > 0)  # replaced before the logarithm, so that no gradient is NaN
            drives.append(torch.log(torch.where(both, f, 1.0) / torch.where(both, b, 1.0)))
        drive = torch.stack(torch.broadcast_tensors(*drives), -1)
        runs = torch.tensor(
            [
                bool((f > 0).all() and (b > 0).all())
                for f, b in zip(self.forward, self.backward, strict=True)
            ]
        ).to(drive)
        inverse = torch.linalg.pinv(self.stoichiometry * runs[:, None])
        potentials: Tensor = -(drive @ inverse.mT).movedim(-1, 1)
        return potentials

    def rates(self, c: Tensor) -> tuple[Tensor, ...]:
        """The rate of each reaction, ``(B, *grid.shape)``, from ``c`` ``(B, S, *grid.shape)``."""
        return tuple(
            forward * _product(c, before) - backward * _product(c, after)
            for forward, backward, before, after in self._rows()
        )

    def sources(self, c: Tensor) -> Tensor:
        """What the reactions make of each species, like ``c``."""
        return _spread_over_species(self.stoichiometry, self.rates(c))

    def slopes(self, c: Tensor) -> Tensor:
        """Derivatives of :meth:`sources` by the concentrations, ``(B, *grid.shape, S, S)``."""
        total = torch.zeros((*c.shape[:1], *c.shape[2:], c.shape[1], c.shape[1])).to(c)
        for (forward, backward, before, after), made in zip(
            self._rows(), self.stoichiometry, strict=True
        ):
            for j in range(c.shape[1]):
                slope = forward * _product(c, before, by=j) - backward * _product(c, after, by=j)
                total[..., j] += slope.unsqueeze(-1) * made
        return total

    def step(self, c: Tensor, dt: Tensor) -> Tensor:
        r"""One implicit step of ``dt`` ``(B,)`` of each reaction in turn: positive for any step.

        The extent :math:`\xi` of each solves :math:`\xi = \Delta t\, r(c + \nu\xi)`, whose one root
        lies where all concentrations are positive. First order; conserves what reactions conserve.
        """
        h = dt.reshape(-1, *(1 for _ in c.shape[2:]))
        for row, made in zip(self._rows(), self.stoichiometry, strict=True):
            c = c + _column(made, c) * _extent(c, h, row, made).unsqueeze(1)
        return c

    def _rows(self) -> list[Row]:
        return list(zip(self.forward, self.backward, self.before, self.after, strict=True))


def null_rows(matrix: Tensor) -> Tensor:
    """Rows of an orthonormal basis of the x with ``matrix @ x = 0``."""
    _, sizes, rows = torch.linalg.svd(matrix)
    basis: Tensor = rows[int((sizes > 1e-9).sum()) :]
    return basis


def _column(values: Tensor, c: Tensor) -> Tensor:
    """``values`` ``(S,)`` to multiply ``c`` ``(B, S, *space)``."""
    return values.reshape(-1, *(1 for _ in c.shape[2:]))


def _spread_over_species(made: Tensor, rates: tuple[Tensor, ...]) -> Tensor:
    total = _column(made[0], rates[0].unsqueeze(1)) * rates[0].unsqueeze(1)
    for row, rate in zip(made[1:], rates[1:], strict=True):
        total = total + _column(row, rate.unsqueeze(1)) * rate.unsqueeze(1)
    return total


def _product(c: Tensor, powers: Tensor, by: int | None = None) -> Tensor:
    """The product of ``c_i ** powers_i``, or its derivative by the species ``by``."""
    total = torch.ones_like(c[:, 0])
    counts = [int(power) for power in powers]
    if by is not None:
        total = total * counts[by]
        counts[by] -= 1
    for i, count in enumerate(counts):
        for _ in range(count):
            total = total * c[:, i]
    return total


def _extent(c: Tensor, h: Tensor, row: Row, made: Tensor) -> Tensor:
    """The root of xi - h r(c + made xi), between the extents at which a concentration vanishes.

    The residual rises with the extent there, so bisection finds the root; its derivative is that of
    one Newton step with the slope held fixed. A direction in which nothing is used up (a reaction
    that feeds itself) goes no further than the present rate takes it.
    """
    forward, backward, before, after = row

    def residual(extent: Tensor) -> Tensor:
        moved = c + _column(made, c) * extent.unsqueeze(1)
        return extent - h * (forward * _product(moved, before) - backward * _product(moved, after))

    with torch.no_grad():
        bounds = []
        for consumed, rate in (
            (-made, h * forward * _product(c, before)),
            (made, h * backward * _product(c, after)),
        ):
            used = [c[:, i] / n for i, n in enumerate(consumed.tolist()) if n > 0]
            bounds.append(torch.stack(used).amin(0) if used else rate.expand_as(c[:, 0]))
        shy = 1 - 8 * torch.finfo(c.dtype).eps  # so that what is used up stays above zero
        low, high = -shy * bounds[1], shy * bounds[0]
        for _ in range(80):
            middle = (low + high) / 2
            above = residual(middle) > 0
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        extent = (low + high) / 2
    if not torch.is_grad_enabled():
        return extent
    with torch.enable_grad():
        at = extent.detach().requires_grad_()
        (slope,) = torch.autograd.grad(residual(at).sum(), at)
    left = residual(extent)
    if not is_followed(left):
        return extent
    found = extent - left / slope
    if not (made < 0).any():
        most = h * forward * _product(c, before)
        found = torch.where(residual(most) < 0, most, found)
    if not (made > 0).any():
        most = -h * backward * _product(c, after)
        found = torch.where(residual(most) > 0, most, found)
    return extent.detach() + (found - found.detach())  # the bits of a step without derivatives
