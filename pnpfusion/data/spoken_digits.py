"""Recordings of the Free Spoken Digit Dataset, from a folder or a zip archive."""

from __future__ import annotations

import io
import re
import wave
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pnpfusion.data.reading import MOST_PACKED, fits

NAME = re.compile(r"(\d)_([A-Za-z]+)_(\d{1,4})\.wav")
RATE = 8000  #: samples a second; of each recording one second is taken
TERMS = (
    "Free Spoken Digit Dataset by Zohar Jackson and contributors, "
    "https://github.com/Jakobovski/free-spoken-digit-dataset: Creative Commons "
    "Attribution-ShareAlike 4.0 (CC BY-SA 4.0); what is made from it and passed on must carry the "
    "same licence and this attribution."
)


@dataclass(frozen=True)
class Recordings:
    """Spoken digits, in the order of digit, speaker and index."""

    sound: Tensor  #: (n, 8000) within [-1, 1), float64: one second, zero at the end of shorter ones
    digit: Tensor  #: int64, (n,)
    index: Tensor  #: int64, (n,): which of its speaker's recordings of that digit
    speakers: tuple[str, ...]  #: of each recording


def read_recordings(path: str | Path) -> Recordings:
    """The files ``{digit}_{speaker}_{index}.wav`` of a folder or zip archive, or of its folder.

    Args:
        path: the folder (or its parent, where it is called ``recordings``), or an archive, or a
            folder with ``recordings.zip``.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: no such files, broken ones, or not mono, of 16 bits, at 8000 Hz.
    """
    path = Path(path)
    place = _place(path)
    if place is None:
        raise ValueError(
            f"{path} holds no recordings {{digit}}_{{speaker}}_{{index}}.wav, as 3_theo_7.wav; "
            f"wanted the folder or zip archive of the Free Spoken Digit Dataset."
        )
    found: dict[tuple[int, str, int], Tensor] = {}
    for name, data in _from_folder(place) if place.is_dir() else _from_archive(place):
        match = NAME.fullmatch(name)
        if match is None:
            continue
        key = (int(match[1]), match[2], int(match[3]))
        if key in found:
            raise ValueError(f"{place} holds {name} twice; keep one.")
        found[key] = _second(f"{place}: {name}", data)
    keys = sorted(found)
    return Recordings(
        torch.stack([found[key] for key in keys]),
        torch.tensor([digit for digit, _, _ in keys]),
        torch.tensor([index for _, _, index in keys]),
        tuple(speaker for _, speaker, _ in keys),
    )


def holds_recordings(path: Path) -> bool:
    """Whether :func:`read_recordings` would find any.

    Raises:
        FileNotFoundError: nothing is there.
    """
    return _place(path) is not None


def _place(path: Path) -> Path | None:
    """Where below ``path`` the recordings are."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; check the path.")
    for place in (path, path / "recordings", path / "recordings.zip"):
        names: list[str] = []
        if place.is_dir():
            names = [file.name for file in place.iterdir()]
        elif zipfile.is_zipfile(place):
            try:
                with zipfile.ZipFile(place) as archive:
                    names = [Path(name).name for name in archive.namelist()]
            except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
                raise ValueError(f"{place} is a broken archive ({error}); get it again.") from None
        if any(NAME.fullmatch(name) for name in names):
            return place
    return None


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        if NAME.fullmatch(path.name):
            fits(str(path), size := path.stat().st_size, size)
            yield path.name, path.read_bytes()


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = Path(member.filename).name
            if NAME.fullmatch(name):
                what = f"{path}: {name}"
                fits(what, member.file_size, MOST_PACKED * member.compress_size)
                try:
                    data = archive.read(member)
                except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
                    raise ValueError(f"{what} cannot be read ({error}); get it again.") from None
                yield name, data


def _second(what: str, data: bytes) -> Tensor:
    """One second of a recording, (8000,)."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            kind = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            frames, count = sound.readframes(RATE), min(sound.getnframes(), RATE)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last from broken chunks
        raise ValueError(f"{what} is no WAV file ({error}); get it again.") from None
    if kind != (1, 2, RATE):
        raise ValueError(
            f"{what} must have 1 channel of 2 bytes at {RATE} Hz, got {kind[0]} of {kind[1]} at "
            f"{kind[2]}."
        )
    if len(frames) != 2 * count or not count:
        raise ValueError(
            f"{what} is cut short: {len(frames) // 2} of {count} samples; get it again."
        )
    second = torch.zeros(RATE, dtype=torch.float64)
    second[:count] = torch.from_numpy(np.frombuffer(frames, "<i2").astype(np.float64) / 32768)
    return second
