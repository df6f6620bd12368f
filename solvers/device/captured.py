"""A step without host decisions, recorded once and replayed as one launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: From tensors to as many tensors of the same shapes.
Step = Callable[..., tuple[Tensor, ...]]


def captured(step: Step, values: Sequence[Tensor]) -> Step:
    """``step`` as a CUDA graph for tensors such as ``values``; elsewhere ``step`` itself.

    The step must not ask the device for a number, nor copy from the host: its kernels are the same
    whatever the values. What a call returns is overwritten by the next one. No gradient.
    """
    if values[0].device.type != "cuda":
        return step
    given = [value.clone() for value in values]
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):  # compiles what is not yet compiled, and fills caches
        for _ in range(2):
            step(*given)
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step(*given)

    def replay(*now: Tensor) -> tuple[Tensor, ...]:
        for own, value in zip(given, now, strict=True):
            own.copy_(value)
        graph.replay()
        return results

    return replay
