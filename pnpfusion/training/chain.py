"""One fusion layer before another: what the first makes of all modalities is one more of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer

Layer = Callable[[Mapping[str, int], int], FusionLayer]


class Chain(FusionLayer):
    r"""A front end whose answer joins the modalities, :math:`y = X(x_1, \dots, x_N, F(x))`.

    Losses of both are in ``info.losses``, ``"front ..."`` where they share a name; a sample has
    succeeded where both have; iterations are the back end's, and the front end's where it has none.

    Args:
        front: F, makes a layer of the given widths and ``out_dim``.
        back: X, likewise; it sees the front end's answer as a modality more.
        dims: the width of each modality, by name.
        out_dim: the width of y, and of F.
    """

    def __init__(self, front: Layer, back: Layer, dims: Mapping[str, int], out_dim: int) -> None:
        super().__init__(dims, out_dim)
        self.joined = "front"  #: what the back end calls the front end's answer
        while self.joined in self.dims:
            self.joined += "_"
        self.front = front(self.dims, out_dim)
        self.back = back({**self.dims, self.joined: out_dim}, out_dim)

    @property
    def dynamics(self) -> Dynamics | None:  # type: ignore[override]
        """The back end's law, the front end's where it has none."""
        return self.front.dynamics if self.back.dynamics is None else self.back.dynamics

    @property
    def solves(self) -> bool:
        """Whether either does; see :attr:`FusionLayer.solves`."""
        return self.front.solves or self.back.solves

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        present = None
        if batch.present is not None:
            present = dict(zip(self.dims, batch.present.unbind(1), strict=True))
        if not return_info:
            first = self.front(batch.features, present=present)
            fused: Tensor = self.back({**batch.features, self.joined: first}, present=present)
            return fused, None
        first, before = self.front(batch.features, present=present, return_info=True)
        fused, after = self.back(
            {**batch.features, self.joined: first}, present=present, return_info=True
        )
        losses = dict(after.losses)
        for name, loss in before.losses.items():
            losses[f"front {name}" if name in losses else name] = loss
        is_back = after.solution is not None
        iterations = after.iterations if is_back else before.iterations
        info = FusionInfo(
            before.succeeded & after.succeeded,
            iterations,
            losses,
            after.solution if is_back else before.solution,
        )
        return fused, info
