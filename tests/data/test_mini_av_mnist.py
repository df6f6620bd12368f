"""Mini AV-MNIST from made-up recordings in the format of the spoken digits, and broken ones."""

import importlib.util
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnpfusion import data
from pnpfusion.data.mini_av_mnist import spectrogram
from pnpfusion.data.spoken_digits import read_recordings

needs_digits = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="the extra 'data' is not installed"
)


def recording(path: Path, samples: Any, *, rate: int = 8000, width: int = 2) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(np.asarray(samples, "<i2").tobytes())


def recordings(folder: Path, indices: tuple[int, ...] = (0, 4, 5, 6)) -> Path:
    """A tone for each digit, of one speaker and as many lengths as there are recordings."""
    folder.mkdir(parents=True)
    for digit in range(10):
        for index in indices:
            t = np.arange(3000 + 1000 * index) / 8000
            tone = 8000 * np.sin(2 * np.pi * 200 * (digit + 1) * t)
            recording(folder / f"{digit}_ada_{index}.wav", tone)
    return folder


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(folder: Path, **options: Any) -> data.Features:
    settings: dict[str, Any] = {"train": 40, "test": 20, "generator": generator()} | options
    return data.mini_av_mnist(folder, **settings)


@needs_digits
def test_the_set(tmp_path: Path) -> None:
    found = make(recordings(tmp_path / "recordings"))
    assert found.dims == {"image": 64, "audio": 320}
    assert {name: len(rows) for name, rows in found.splits.items()} == {"train": 40, "test": 20}
    assert found.class_names == tuple("0123456789")
    for words in ("CC BY-SA 4.0", "Zohar Jackson", "CC BY 4.0"):
        assert words in found.terms
    again, other = make(tmp_path / "recordings"), make(tmp_path, generator=generator(1))
    assert all(torch.equal(again.modalities[m], found.modalities[m]) for m in found.modalities)
    assert not torch.equal(other.modalities["audio"], found.modalities["audio"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings"]  # nothing is written


@needs_digits
def test_the_tone_is_that_of_the_digit(tmp_path: Path) -> None:
    found = make(recordings(tmp_path / "recordings"), snr=None)
    assert found.target is not None
    loudest = found.modalities["audio"].reshape(-1, 16, 20)[:, :, 2].argmax(1)  # 250 Hz a band
    assert torch.equal(loudest, (200 * (found.target + 1) / 250).long())


@needs_digits
def test_parts_do_not_share_images_or_recordings(tmp_path: Path) -> None:
    found = make(recordings(tmp_path / "recordings"), snr=None, share=1.0, train=300, test=300)
    for values in found.modalities.values():
        train, test = (
            {tuple(row) for row in values[found.splits[s]].tolist()} for s in found.splits
        )
        assert not train & test
        assert len(train) >= 10


@needs_digits
def test_the_share_is_that_of_the_components(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "recordings")
    ranks = {}
    for share in (0.25, 0.4, 1.0):
        image = make(folder, share=share, train=200).modalities["image"]
        ranks[share] = int(torch.linalg.matrix_rank(image - image.mean(0), rtol=1e-9))
    assert ranks[0.25] == 1
    assert ranks[0.4] == 2
    assert ranks[1.0] > 50
    with pytest.raises(ValueError, match=r"`share` must be within \[0\.1"):
        make(folder, share=0.05)
    with pytest.raises(ValueError, match=r"`share` must be within \[0\.1"):
        make(folder, share=1.5)


def test_noise_is_as_loud_as_it_is_said() -> None:
    from pnpfusion.data.mini_av_mnist import _noisy

    sound = torch.zeros(3, 8000, dtype=torch.float64)
    sound[:, :4000] = 0.5
    for snr in (0.0, -10.0, 20.0):
        noise = _noisy(sound, snr, generator()) - sound
        level = noise.square().mean(1) / sound.square().mean(1)
        np.testing.assert_allclose(level, 10 ** (-snr / 10), rtol=0.1)


def test_the_spectrogram_is_scipys() -> None:
    from scipy.signal import stft

    sound = torch.randn(2, 8000, dtype=torch.float64, generator=generator())
    _, _, z = stft(sound.numpy(), nperseg=256, noverlap=128)
    level = np.log(np.abs(z)[:, :128, :60] + 1e-4).reshape(2, 16, 8, 20, 3).mean((2, 4))
    np.testing.assert_allclose(spectrogram(sound), level.reshape(2, 320), rtol=1e-10)


def test_folders_and_archives_are_alike(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "a" / "recordings")
    path = tmp_path / "b" / "recordings.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir(), reverse=True):
            archive.write(file, f"recordings/{file.name}")
    first = read_recordings(folder)
    assert first.sound.shape == (40, 8000)
    assert first.digit.tolist() == sorted(list(range(10)) * 4)
    assert first.index[:4].tolist() == [0, 4, 5, 6]
    assert first.speakers == ("ada",) * 40
    assert (first.sound[0, 3000:] == 0).all()
    for where in (tmp_path / "a", path, tmp_path / "b"):
        assert torch.equal(read_recordings(where).sound, first.sound)


def broken(folder: Path, content: bytes) -> Path:
    (folder / "3_ada_5.wav").write_bytes(content)
    return folder


def test_broken_recordings(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "recordings")
    whole = (folder / "3_ada_5.wav").read_bytes()
    for content in (b"", b"RIFF", b"no sound", whole[:30]):
        with pytest.raises(ValueError, match=r"3_ada_5\.wav is no WAV file"):
            read_recordings(broken(folder, content))
    with pytest.raises(ValueError, match=r"3_ada_5\.wav (is cut short|is no WAV file)"):
        read_recordings(broken(folder, whole[:1000]))
    recording(folder / "3_ada_5.wav", [0, 1], rate=16000)
    with pytest.raises(
        ValueError, match="must have 1 channel of 2 bytes at 8000 Hz, got 1 of 2 at"
    ):
        read_recordings(folder)
    recording(folder / "3_ada_5.wav", [])
    with pytest.raises(ValueError, match=r"3_ada_5\.wav is cut short"):
        read_recordings(folder)


def test_an_archive_that_is_broken(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "recordings", (0, 5))
    path = tmp_path / "recordings.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file)
    whole = bytearray(path.read_bytes())
    whole[200] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"0_ada_0\.wav cannot be read .* get it again"):
        read_recordings(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/0_ada_0.wav", "b/0_ada_0.wav"):
            archive.write(folder / "0_ada_0.wav", name)
    with pytest.raises(ValueError, match=r"holds 0_ada_0\.wav twice"):
        read_recordings(path)


@needs_digits
def test_recordings_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no recording of a [0-9] for the split 'test'"):
        make(recordings(tmp_path / "late", (5, 6)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no recordings"):
        make(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        make(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`train` and `test` must be >= 1"):
        make(tmp_path / "late", test=0)
