"""What someone may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The end of an error: did you mean this? ``otherwise`` where nothing known is like it."""
    near = get_close_matches(word, [*known], n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise
