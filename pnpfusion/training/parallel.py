"""What the processes of one training tell each other; alone, nothing.

Process k of n takes every n-th sample of a batch from the k-th. Losses are divided by what the
whole batch counts, so the sum of all gradients is that of the batch, in any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from pnpfusion.sweeps.crew import Crew, LostProcess


def sum_over(crew: Crew, values: Tensor) -> Tensor:
    """The sum of everyone's ``values``, the same bits for all of them.

    Raises:
        LostProcess: another process has died.
    """
    if crew.group is None:
        return values
    from torch import distributed

    try:
        distributed.all_reduce(values, group=crew.group)
    except RuntimeError as error:
        raise LostProcess(str(error)) from error
    return values


def own_place(crew: Crew, numbers: Sequence[float]) -> list[float]:
    """The numbers where they are ours, and zeros for others: a sum over the crew has everyone's."""
    wide = [0.0] * (crew.size * len(numbers))
    wide[crew.rank * len(numbers) : (crew.rank + 1) * len(numbers)] = numbers
    return wide


def sum_gradients(crew: Crew, parameters: Iterable[nn.Parameter], told: Tensor) -> Tensor:
    """Put the sum of everyone's gradients in their place, in one message.

    Args:
        crew: the processes.
        parameters: all that are learned; a gradient that is None counts as zero.
        told: numbers that go with them, (m,).

    Returns:
        The sum of everyone's ``told``.

    Raises:
        LostProcess: another process has died.
    """
    if crew.group is None:
        return told
    learned = [one for one in parameters if one.requires_grad]
    for one in learned:
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    gradients = [one.grad for one in learned if one.grad is not None]
    flat = torch.cat([*(one.reshape(-1) for one in gradients), told.to(gradients[0])])
    sum_over(crew, flat)
    sizes = [one.numel() for one in gradients]
    parts = torch.split(flat, [*sizes, len(told)])
    for gradient, part in zip(gradients, parts[:-1], strict=True):
        gradient.copy_(part.reshape(gradient.shape))
    return parts[-1]


def share_weights(crew: Crew, model: nn.Module) -> None:
    """Give everyone the first process's parameters and buffers.

    Raises:
        LostProcess: another process has died.
    """
    if crew.group is None:
        return
    from torch import distributed

    try:
        for value in model.state_dict().values():
            distributed.broadcast(value, src=0, group=crew.group)
    except RuntimeError as error:
        raise LostProcess(str(error)) from error
