"""How many steps of a run keep their graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import Tensor

BYTES_OF_GRAPHS = 2**28


class GraphRoom:
    """Room for the graphs of the first steps of a run, in sweeps that are all alike.

    What one of them holds is counted in the first one. Where hooks on saved tensors are forbidden
    nothing is, so that all sweeps keep their graphs.
    """

    def __init__(self) -> None:
        self.sweeps = 0
        #: Bytes of what the graph of the first sweep holds, by place.
        self.held: dict[int, int] = {}

    @property
    def is_full(self) -> bool:
        """Whether another sweep goes beyond :data:`BYTES_OF_GRAPHS`, which the first may."""
        return self.sweeps > 0 and (self.sweeps + 1) * sum(self.held.values()) > BYTES_OF_GRAPHS

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Within, one more sweep is recorded."""
        self.sweeps += 1
        if self.sweeps > 1:
            yield
            return
        with ExitStack() as stack:
            with suppress(RuntimeError):  # within torch's `disable_saved_tensors_hooks`
                hooks = torch.autograd.graph.saved_tensors_hooks(self._count, lambda kept: kept)
                stack.enter_context(hooks)
            yield

    def _count(self, values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        self.held[storage.data_ptr()] = storage.nbytes()
        return values.detach()  # a node that held its own result would never be freed
