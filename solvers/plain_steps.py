"""What a law that takes a stepper's plain steps by itself is told, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Method(NamedTuple):
    """An ESDIRK tableau of R implicit stages, the error allowed, and how steps follow it."""

    rows: NDArray[np.float64]  #: a_ij without the explicit first row, (R, R+1)
    error: NDArray[np.float64]  #: weights of the slopes in the estimate of the error, (R+1,)
    error_order: float  #: order in dt of the difference of the two solutions
    rtol: float
    atol: float
    newton_share: float  #: of the error allowed, left to the solution of a stage
    safety: float
    largest_growth: float
    smallest_shrink: float
    shrink_after_failure: float
    most_failures: int  #: in a row, of plain steps


class FixedStep(NamedTuple):
    """One of the steps that are known before a run begins."""

    dt: float
    end: float  #: the time after it
    next: int  #: index of the next saved time there


#: du/dt, from times (B,) and states (B, *state).
Rate = Callable[[Tensor, Tensor], Tensor]

#: The steps from a time, with the index of the next saved time there, at most so many.
Schedule = Callable[[float, int, int], list[FixedStep]]


@dataclass(frozen=True, eq=False)
class Place:
    """Where B samples of a run stand between two steps."""

    t: Tensor  #: (B,)
    u: Tensor  #: (B, *state)
    slope: Tensor  #: du/dt there, (B, *state)
    next: Tensor  #: index of the next saved time, (B,)
    dt: Tensor  #: the step that the last one suggested, (B,)
    failures: Tensor  #: in a row, (B,)
    land: Tensor  #: whether the next step must end at a saved time, bool (B,)
    lowest: Tensor  #: smallest of `Law.lowest` since the last saved time, (B,)


@dataclass(frozen=True, eq=False)
class Advance:
    """What some steps of every sample came to.

    P states were saved, in the order of times, and of samples at each time.
    """

    place: Place
    waits: Tensor  #: samples that need another step than a plain one next, bool (B,)
    steps: Tensor  #: accepted, (B,)
    rejected: Tensor  #: (B,)
    iterations: Tensor  #: (B,)
    rate_calls: Tensor  #: (B,)
    which: Tensor  #: indices of the times that were passed, (P,)
    sample: Tensor  #: and of the samples that passed them, (P,)
    values: Tensor  #: their states, (P, *state)
    lowest: Tensor  #: smallest of `Law.lowest` since the time before, (P,)
    in_place: bool = False
    """Whether ``values`` are those of the whole run instead, ``(T, B, *state)``, the same tensor
    in every call, which hold these states at their places"""


class PlainSteps(ABC):
    """Takes the steps of one run, as far as they are plain.

    Plain steps solve their stages and end well, or fail and are tried again smaller.
    """

    @abstractmethod
    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """Take steps of the samples that are going: all of a run, or a part of it.

        Args:
            place: where they stand.
            going: which to move, bool ``(B,)``.
            left: how many steps each may still try, ``(B,)``.
        """


class StartingSteps(PlainSteps):
    """Plain steps that need not be told the slopes and the sizes of steps to begin with."""

    @abstractmethod
    def start(self, u0: Tensor, left: int) -> Advance:
        """As :meth:`advance` from the first time, whose states are saved too."""


class FollowedSteps(PlainSteps):
    """Plain steps whose states carry the gradient."""

    @abstractmethod
    def follows(self, u: Tensor) -> bool:
        """Whether a run from ``u`` ``(B, *state)`` has a gradient in anything."""


class SlopedSteps(FollowedSteps):
    """Followed steps that need no gradient of the slopes to begin with."""

    @abstractmethod
    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """du/dt like ``u`` ``(B, *state)``, without gradient."""

    def end(self, u: Tensor, begin: float, most: int) -> Tensor | None:
        """Where the run from ``u`` at the time ``begin`` leads to; None: :meth:`advance` knows.

        So it does where a step is not plain, or where there are more than ``most``.
        """
        return None
