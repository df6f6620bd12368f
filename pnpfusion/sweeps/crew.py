"""The processes of a run, as `torchrun` starts them; one if it was not used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

TO_ASSEMBLE = timedelta(minutes=5)  #: until all processes are there
TO_MEET = timedelta(days=90)  #: of one that has finished, for those that have not
GLANCE = 0.02  #: seconds between two looks at whether all have come


class LostProcess(RuntimeError):
    """Another process of the run has died."""


@dataclass(frozen=True)
class Crew:
    """Who we are among how many."""

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = None  #: None if we are alone

    def meet(self, word: int = 0) -> list[int]:
        """Wait until all have come, and return the number that each brought, by rank.

        Signals are heard meanwhile.

        Raises:
            LostProcess: one of the others will never come.
        """
        if self.group is None:
            return [word]
        from torch import distributed

        words = [torch.zeros(1, dtype=torch.long) for _ in range(self.size)]
        try:
            work = distributed.all_gather(
                words, torch.tensor([word]), group=self.group, async_op=True
            )
            while not work.is_completed():  # a plain wait would be deaf to signals
                time.sleep(GLANCE)
            work.wait()
        except RuntimeError as error:
            raise LostProcess(str(error)) from error
        return [int(one) for one in words]


@contextmanager
def assembled() -> Iterator[Crew]:
    """The crew we belong to: that of an initialised `torch.distributed`, or of `torchrun`.

    Raises:
        LostProcess: not all processes came within :data:`TO_ASSEMBLE`.
    """
    from torch import distributed

    announced = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    ours = not (distributed.is_available() and distributed.is_initialized())
    if ours and announced == 1:
        yield Crew()
        return
    try:
        if ours:
            distributed.init_process_group("gloo", timeout=TO_ASSEMBLE)
        group = distributed.new_group(backend="gloo", timeout=TO_MEET)
    except (RuntimeError, ValueError) as error:  # the latter: a variable of torchrun's is not set
        raise LostProcess(
            f"{announced} processes were announced (WORLD_SIZE), and did not meet: "
            f"{str(error).rstrip('.')}. Start them by torchrun, and see that all can reach the "
            f"machine of the first one."
        ) from error
    try:
        yield Crew(distributed.get_rank(), distributed.get_world_size(), group)
    finally:  # also after an exception, so that the others hear of it at once
        distributed.destroy_process_group(None if ours else group)
