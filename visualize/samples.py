"""Which samples of a batch a picture shows, and what it calls them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: An index into the flattened batch; one index per axis of the batch, None for the mean over that
#: axis; or None for the mean over the whole batch.
Sample = int | tuple[int | None, ...] | None


def chosen(batch: tuple[int, ...], sample: Sample) -> npt.NDArray[np.int_]:
    """The samples meant, as indices into the flattened batch.

    Raises:
        ValueError: there is no such sample.
    """
    size = int(np.prod(batch))
    if sample is None:
        return np.arange(size)
    if isinstance(sample, tuple):
        fits = len(sample) == len(batch) and all(
            one is None or 0 <= one < n for one, n in zip(sample, batch, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`sample` must have an index, or None for all, for each axis of the batch "
                f"{batch}, got {sample}."
            )
        where = tuple(slice(None) if one is None else one for one in sample)
        return np.asarray(np.arange(size).reshape(batch)[where]).reshape(-1)
    if not 0 <= sample < size:
        raise ValueError(
            f"`sample` must be 0 to {size - 1}, or None for the mean over the batch, got {sample}."
        )
    return np.array([sample])


def name_of(batch: tuple[int, ...], index: int) -> str:
    """What a sample is called: "3", or "(0, 3)" where the batch has several axes."""
    if len(batch) < 2:
        return str(index)
    return str(tuple(int(one) for one in np.unravel_index(index, batch)))


def who(batch: tuple[int, ...], sample: Sample, shown: int) -> str:
    """Whose the picture is: "sample 3 of 64", "mean of 64 samples"; empty without a batch.

    ``shown`` of the samples meant have an answer, and make the mean.
    """
    if not batch:
        return ""
    meant, of = chosen(batch, sample), " × ".join(map(str, batch))
    if sample is not None and len(meant) == 1:
        return f"sample {name_of(batch, int(meant[0]))} of {of}"
    some = f"{len(meant)}" if shown == len(meant) else f"the {shown} of {len(meant)}"
    text = f"mean of {some} samples" + (" that have an answer" if shown < len(meant) else "")
    if isinstance(sample, tuple) and None in sample and len(meant) < np.prod(batch):
        axes = ", ".join(":" if one is None else str(one) for one in sample)
        text += f", ({axes}) of {of}"
    return text
