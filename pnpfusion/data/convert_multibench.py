"""UNSAFE INPUT: write one of MultiBench's affect pickles to ``.npz``, once, for :func:`from_npz`.

usage: python -m pnpfusion.data.convert_multibench IN.pkl OUT.npz --trust

A pickle is a program. This reads ``mosi_raw.pkl``, ``mosei_*.pkl``, ``sarcasm.pkl`` and
``humor.pkl`` [LLD21] with an unpickler that knows how to make arrays of numbers and refuses every
other name; still use it only on files whose maker you trust. Nothing else of pnpfusion imports this
module or reads pickles.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnpfusion.data.pickled_arrays import ArraysOnly, PickledArray
from pnpfusion.data.reading import a_file, fits
from pnpfusion.files import whole

MODALITIES = ("vision", "audio", "text")
SPLITS = ("train", "valid", "test")


def read_affect(path: str | Path) -> dict[str, NDArray[Any]]:
    """Arrays for :func:`numpy.savez`: vision, audio, text (n, 50, d), label or target, split.

    Where audio holds minus infinity it becomes 0, and samples whose text sums to 0 are dropped. The
    number of each sample comes as ``value``.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no whole pickle, one that names anything but arrays, or another content.
    """
    path = a_file(path)
    fits(str(path), size := path.stat().st_size, size)
    try:
        with path.open("rb") as stream:
            content = ArraysOnly(stream, size).load()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise ValueError(f"{path} is no whole pickle ({error}); get it again.") from None
    parts = [_part(path, content, split) for split in SPLITS]
    joined = {}
    for name in (*MODALITIES, "value"):
        arrays = [part[name] for part in parts]
        if len({array.shape[1:] for array in arrays}) > 1:
            shapes = [array.shape for array in arrays]
            raise ValueError(f"{path}: {name!r} has different shapes in the splits: {shapes}.")
        joined[name] = np.concatenate(arrays)
    counts = [len(part["value"]) for part in parts]
    return joined | {"split": np.repeat(np.array(SPLITS), counts)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0, or 2 with one line on what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m pnpfusion.data.convert_multibench",
        description="Write a MultiBench affect pickle to .npz. A pickle can run code when it is "
        "read: use only files whose maker you trust.",
    )
    parser.add_argument(
        "pickle", metavar="IN.pkl", help="mosi_raw.pkl, mosei_*.pkl, sarcasm.pkl, ..."
    )
    parser.add_argument("archive", metavar="OUT.npz", help="what to write")
    parser.add_argument("--trust", action="store_true", help="say that you trust who made IN.pkl")
    parser.add_argument(
        "--numbers",
        action="store_true",
        help="ask for the number of each sample instead of its class (number > 0)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.npz")
    options = parser.parse_args(arguments)
    try:
        if not options.trust:
            raise ValueError(
                f"{options.pickle} is a pickle, which can run code when read; if you trust who "
                f"made it, say so with --trust."
            )
        out = Path(options.archive)
        if out.suffix.lower() != ".npz":
            raise ValueError(f"{out} must end in .npz.")
        if out.exists() and not options.overwrite:
            raise ValueError(f"{out} is there already; choose another name, or add --overwrite.")
        arrays = read_affect(options.pickle)
        value = arrays.pop("value")
        if options.numbers:
            arrays["target"] = value
        else:
            arrays["label"] = (value > 0).astype(np.int64)
            arrays["class_names"] = np.array(["not positive", "positive"])
        with whole(out) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except (ValueError, OSError) as error:
        print(f"convert_multibench: {error}", file=sys.stderr)
        return 2
    print(f"{out}: {len(value)} samples; open it with pnpfusion.data.from_npz")
    return 0


def _part(path: Path, content: Any, split: str) -> dict[str, NDArray[Any]]:
    """The arrays of one split, cleaned."""
    wanted = "a dict train/valid/test of dicts vision, audio, text, labels"
    if not isinstance(content, dict) or not isinstance(content.get(split), dict):
        raise ValueError(f"{path} must be {wanted}; there is no {split!r} of that kind.")
    found: dict[str, NDArray[Any]] = {}
    for name in (*MODALITIES, "labels"):
        given = content[split].get(name)
        if not isinstance(given, PickledArray):
            raise ValueError(f"{path} must be {wanted}; {split!r} has no array {name!r}.")
        values = given.numbers(f"{path}: {split!r}, {name!r}")
        found[name] = values.astype(np.float32 if name in MODALITIES else np.float64)
    n = len(found["labels"])
    for name in MODALITIES:
        if found[name].ndim != 3 or len(found[name]) != n:
            raise ValueError(
                f"{path}: {split!r}, {name!r} must be ({n}, tokens, features), one row for each "
                f"label, got {found[name].shape}."
            )
    value = found.pop("labels")
    if value.size != n:
        raise ValueError(
            f"{path}: {split!r}, 'labels' must be one number a sample, got {value.shape}."
        )
    found["audio"][np.isneginf(found["audio"])] = 0
    found["value"] = value.reshape(n)
    spoken = found["text"].sum((1, 2)) != 0
    for name, values in found.items():
        if not np.isfinite(values[spoken]).all():
            raise ValueError(
                f"{path}: {split!r}, {name!r} holds entries that are not finite, other than minus "
                f"infinity in audio; mend the file."
            )
    if not spoken.any():
        raise ValueError(f"{path}: no sample of {split!r} has any text.")
    return {name: values[spoken] for name, values in found.items()}


if __name__ == "__main__":
    sys.exit(main())
