"""Any data set by one line of text: a name that is known here, or a path."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pnpfusion.data.arrays import from_npz
from pnpfusion.data.av_mnist import from_av_mnist
from pnpfusion.data.feature_set import Features
from pnpfusion.data.index_task import index
from pnpfusion.data.interaction import interaction
from pnpfusion.data.known_sets import digits, htad
from pnpfusion.data.mini_av_mnist import mini_av_mnist
from pnpfusion.data.mm_imdb import from_mm_imdb
from pnpfusion.data.mogonet import from_mogonet
from pnpfusion.data.safetensors_file import from_safetensors
from pnpfusion.data.spoken_digits import holds_recordings
from pnpfusion.data.tables import from_csv
from pnpfusion.data.volatility_law import volatility
from pnpfusion.solvers.faq import Faq

HDF5 = b"\x89HDF\r\n\x1a\n"


def open_set(text: str) -> Features:
    """The set of that name or path; what a file or folder is, is seen from what it holds.

    A name may have options: ``digits:parts=quadrants``, ``index:bits=8,samples=5000``,
    ``mini-av-mnist:folder=fsdd,snr=-10``. :data:`SETS` lists names; the options are the arguments
    of what stands there, with ``seed`` for a generator. A file called like a set is opened by
    ``./digits``.

    Args:
        text: a name, a name with options, or a path.

    Raises:
        FileNotFoundError: neither a name nor a path that is there.
        ImportError: an extra package is needed.
        ValueError: an unknown or bad option, a file or folder of no known kind, or a broken one.
    """
    name, _, options = text.partition(":")
    if name in SETS:
        return _named(name, options)
    path = Path(text)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    raise FileNotFoundError(
        f"{text!r} is no known set and no path that is there; wanted one of {list(SETS)}, or a "
        f"file or folder as docs/data.md lists them {Faq.DATA_NOT_FOUND}."
    )


def path_of(text: str) -> Path | None:
    """The file or folder that :func:`open_set` reads for a text; None if it reads none of yours."""
    name, _, options = text.partition(":")
    if name not in SETS:
        return Path(text)
    folder = inspect.signature(SETS[name]).parameters.get("folder")
    given = dict(option.partition("=")[::2] for option in options.split(","))
    return None if folder is None else Path(given.get("folder", folder.default))


def _interaction(samples: int = 4000, width: int = 16, *, generator: torch.Generator) -> Features:
    return interaction(samples, {"a": width, "b": width}, generator=generator)


#: What makes each set that has a name. Its options are the arguments with a default that is a word
#: or a number, and ``seed`` in the place of a ``generator``.
SETS: dict[str, Callable[..., Features]] = {
    "htad": htad,
    "digits": digits,
    "interaction": _interaction,
    "index": index,
    "volatility": volatility,
    "mini-av-mnist": mini_av_mnist,
}


def _named(name: str, options: str) -> Features:
    arguments = inspect.signature(SETS[name]).parameters
    known = {
        key: one.default
        for key, one in arguments.items()
        if isinstance(one.default, str | int | float)
    }
    if "generator" in arguments:
        known["seed"] = 0
    settings: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key not in known:
            has = f"options {list(known)}" if known else "no options"
            raise ValueError(f"the set {name!r} has {has}, got {option!r}.")
        kind = type(known[key])
        try:
            settings[key] = kind(value)
        except ValueError:
            raise ValueError(
                f"{name}: option {key!r} must be of type {kind.__name__}, got {value!r}."
            ) from None
    if "generator" in arguments:
        settings["generator"] = _generator(settings.pop("seed", 0))
    return SETS[name](**settings)


def _folder(folder: Path) -> Features:
    if (folder / "labels_tr.csv").exists() or (folder / "1_tr.csv").exists():
        return from_mogonet(folder)
    if (folder / "image" / "train_data.npy").exists() or (folder / "train_labels.npy").exists():
        return from_av_mnist(folder)
    if (film := folder / "multimodal_imdb.hdf5").exists():
        return from_mm_imdb(film)
    if holds_recordings(folder):
        return mini_av_mnist(folder, generator=_generator(0))
    raise ValueError(
        f"{folder} is no set that is known: looked for 1_tr.csv (MOGONET), image/train_data.npy "
        f"(AV-MNIST), multimodal_imdb.hdf5 (MM-IMDB), 0_name_0.wav or recordings.zip (spoken "
        f"digits for mini AV-MNIST) {Faq.DATA_NOT_FOUND}."
    )


def _file(path: Path) -> Features:
    with path.open("rb") as stream:
        start = stream.read(16)
    if start.startswith(HDF5):
        return from_mm_imdb(path)
    if zipfile.is_zipfile(path):
        spoken = holds_recordings(path)
        return mini_av_mnist(path, generator=_generator(0)) if spoken else from_npz(path)
    pickled = path.suffix.lower() in (".pkl", ".pickle")
    if not pickled and (path.suffix.lower() == ".safetensors" or start[8:9] == b"{"):
        return from_safetensors(path)
    if pickled or (start[:1] == b"\x80" and start[1:2] < b"\x10"):
        raise ValueError(
            f"{path} is a pickle, which can run code when read. If you trust who made it and it is "
            f"one of MultiBench's, write it to .npz first: "
            f"python -m pnpfusion.data.convert_multibench --help"
        )
    if path.suffix.lower() == ".npz":
        return from_npz(path)  # which says what is wrong with it
    if path.suffix.lower() == ".csv":
        return from_csv(path)
    raise ValueError(
        f"{path} is of no known kind: looked for an archive (.npz), safetensors, HDF5 (MM-IMDB), a "
        f"zip archive of spoken digits, and a name that ends in .csv {Faq.DATA_NOT_FOUND}."
    )


def _generator(seed: int) -> torch.Generator:
    if not 0 <= seed < 2**63:
        raise ValueError(f"option 'seed' must be within 0 and 2**63 - 1, got {seed}.")
    return torch.Generator().manual_seed(seed)
