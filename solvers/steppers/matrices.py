"""The coefficients of exponential steps, remembered by the size of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.phi_functions import doubled, phi_functions

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

#: One tensor per coefficient of a method, each (B|1, S, S, *modes).
Coefficients = tuple[Tensor, ...]

SIZES_KEPT = 4  # sizes of steps whose coefficients are remembered


class Matrices:
    """The coefficients of a method for a linear part, by size of step."""

    def __init__(self, method: Exponential, linear: Tensor, alike: Tensor | None) -> None:
        self.method, self.linear, self.alike = method, linear, alike
        self.few: tuple[Tensor, Tensor] | None = None
        if alike is not None:
            few, back = alike.unique(return_inverse=True)
            self.few = few, back
        self.known: dict[str, Coefficients] = {}
        self.phis: dict[str, tuple[Tensor, ...]] = {}

    def of(self, dt: Tensor) -> Coefficients:
        """Those for steps ``dt`` ``(B,)``; sizes that differ by round-off share them."""
        keys = [self._key(size) for size in dt.tolist()]
        kinds = dict.fromkeys(keys)
        if len(kinds) == 1:
            return self._of_size(keys[0], dt[:1])
        if len(kinds) > SIZES_KEPT:
            return self.made(dt)
        each = {key: self._of_size(key, dt[keys.index(key)].reshape(1)) for key in kinds}
        rows = [[c[i : i + 1] if len(c) > 1 else c for c in each[k]] for i, k in enumerate(keys)]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def _key(self, size: float) -> str:
        digits = 12 if self.linear.dtype == torch.float64 else 6
        return f"{torch.is_grad_enabled()} {size:.{digits}e}"

    def _of_size(self, key: str, size: Tensor) -> Coefficients:
        if key not in self.known:
            make_room(self.known)
            self.known[key] = self.made(size)
        return self.known[key]

    def made(self, sizes: Tensor) -> Coefficients:
        """Those for ``sizes``, found anew, once for modes that are alike."""
        if self.few is None:
            return self._made(self.linear, sizes)
        few, back = self.few
        found = self._made(self.linear.flatten(3)[..., few], sizes)
        modes = self.linear.shape[3:]
        return tuple(c[..., back].reshape(*c.shape[:3], *modes) for c in found)

    def _made(self, linear: Tensor, sizes: Tensor) -> Coefficients:
        h = sizes.reshape(-1, *(1 for _ in linear.shape[1:]))
        if self.method.highest == 0:
            return self.method.coefficients(phi_functions(h / 2 * linear, 1), (), h)
        at_half = None
        if len(sizes) == 1:
            at_half = self.phis.get(self._key(float(sizes) / 2))
        if at_half is None:
            at_half = phi_functions(h / 2 * linear, self.method.highest)
        whole = doubled(at_half)
        if len(sizes) == 1:  # the next size is often twice this one
            make_room(self.phis)
            self.phis[self._key(float(sizes))] = whole
        return self.method.coefficients(at_half, whole, h)


def make_room(known: dict[str, tuple[Tensor, ...]]) -> None:
    """Forget the oldest, so that there is room for one more size."""
    if len(known) >= SIZES_KEPT:
        known.pop(next(iter(known)))
