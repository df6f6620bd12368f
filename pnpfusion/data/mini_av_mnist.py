"""A small AV-MNIST: written digits of scikit-learn beside spoken ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.data.known_sets import DIGITS_SOURCE, DIGITS_TERMS, digit_images
from pnpfusion.data.spoken_digits import TERMS, read_recordings

IMAGES = 1300  #: images for training; the other 497 are for test
HELD_OUT = (
    5  #: recordings 0 to 4 of each speaker and digit are for test, as in their set's own split
)
WINDOW, HOP = 256, 128  #: of the spectrogram, in samples
POOL = (8, 3)  #: frequencies and frames that are averaged; of 128 and 60
FLOOR = 1e-4  #: of amplitudes, below which a spectrogram does not look


def mini_av_mnist(
    folder: str | Path = "fsdd",
    *,
    share: float = 0.25,
    snr: float | None = 0.0,
    train: int = 3000,
    test: int = 1000,
    generator: torch.Generator,
) -> Features:
    """Pairs of a written and a spoken digit, both made worse: image (n, 64), audio (n, 320).

    Images are projected on the leading principal components of those for training. A second of
    sound, with white noise, becomes the logarithm of its spectrogram (Hann windows of 256 samples,
    half overlapping), averaged over 8 frequencies by 3 frames: 16 x 20 numbers. For a pair an image
    is drawn, then a recording of the same digit. No image and no recording is on both sides of the
    split. Given the digit, the two are independent: the set shows that fusion helps, not that it
    has to be more than late.

    Args:
        folder: the Free Spoken Digit Dataset, a folder or a zip archive; nothing is written there.
        share: how much of the variance of images the components that are kept may hold together:
            0.25 leaves one of them, 0.4 two, 1 all.
        snr: sound over noise, in dB, over the second; None, or infinity, adds no noise.
        train: pairs for training.
        test: pairs for test.
        generator: where the randomness comes from.

    Returns:
        float64 features with splits "train" and "test"; ``terms`` holds the attribution that both
        sets ask for.

    Raises:
        FileNotFoundError: nothing is there.
        ImportError: scikit-learn is not installed.
        ValueError: no such recordings, broken ones, a digit without any, or a share that leaves no
            component.
    """
    if train < 1 or test < 1:
        raise ValueError(f"`train` and `test` must be >= 1, got {train} and {test}.")
    images, classes, names = digit_images()
    spoken = read_recordings(folder)
    order = torch.randperm(len(images), generator=generator)
    pixels = _project(images.flatten(1), order[:IMAGES], share)
    sound = spectrogram(_noisy(spoken.sound, snr, generator))
    written = {"train": order[:IMAGES], "test": order[IMAGES:]}
    heard = {"train": spoken.index >= HELD_OUT, "test": spoken.index < HELD_OUT}
    rows, voices = [], []
    for name, count in (("train", train), ("test", test)):
        at = written[name][torch.randint(len(written[name]), (count,), generator=generator)]
        rows.append(at)
        voices.append(_same_digit(classes[at], spoken.digit, heard[name], name, generator))
    return Features(
        "mini AV-MNIST",
        {"image": pixels[torch.cat(rows)], "audio": sound[torch.cat(voices)]},
        target=classes[torch.cat(rows)],
        class_names=names,
        splits={"train": torch.arange(train), "test": torch.arange(train, train + test)},
        feature_names={
            "image": tuple(f"pixel {row},{column}" for row in range(8) for column in range(8)),
            "audio": tuple(f"band {band}, time {time}" for band in range(16) for time in range(20)),
        },
        terms=f"Images: {DIGITS_TERMS} Sound: {TERMS}",
        source=f"{DIGITS_SOURCE}; recordings in {folder}",
    )


def spectrogram(sound: Tensor) -> Tensor:
    r"""The pooled log-spectrogram of seconds of sound, (n, 8000) to (n, 320).

    .. math:: \log(|Z| + 10^{-4})

    with Z the short-time Fourier transform in the scale of :func:`scipy.signal.stft`, where a sine
    of amplitude 1 has modulus 1/2; its first 128 frequencies and 60 frames.
    """
    window = torch.hann_window(WINDOW, dtype=sound.dtype)
    pooled = []
    for part in sound.split(250):
        moduli = torch.stft(
            part, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True
        ).abs()
        level = (moduli[:, :128, :60] / window.sum() + FLOOR).log()
        pooled.append(torch.nn.functional.avg_pool2d(level[:, None], POOL).flatten(1))
    return torch.cat(pooled)


def _project(pixels: Tensor, learnt: Tensor, share: float) -> Tensor:
    """The images as the components that are kept show them."""
    mean = pixels[learnt].mean(0)
    _, sizes, axes = torch.linalg.svd(pixels[learnt] - mean, full_matrices=False)
    held = sizes.square().cumsum(0) / sizes.square().sum()
    kept = len(sizes) if share >= 1 else int((held <= share).sum())
    if not kept or not share <= 1:
        raise ValueError(
            f"`share` must be within [{float(held[0]):.3f}, 1], which is what the first component "
            f"holds, got {share}."
        )
    projected: Tensor = mean + (pixels - mean) @ axes[:kept].T @ axes[:kept]
    return projected


def _noisy(sound: Tensor, snr: float | None, generator: torch.Generator) -> Tensor:
    if snr is None:
        return sound
    noise = torch.randn(sound.shape, dtype=sound.dtype, generator=generator)
    level = sound.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr / 20)
    return sound + level * noise


def _same_digit(
    wanted: Tensor, digits: Tensor, allowed: Tensor, split: str, generator: torch.Generator
) -> Tensor:
    """For each digit wanted one recording of it, drawn from those that are allowed."""
    chosen = torch.zeros_like(wanted)
    for digit in wanted.unique().tolist():
        found = ((digits == digit) & allowed).nonzero()[:, 0]
        if not len(found):
            raise ValueError(
                f"there is no recording of a {digit} for the split {split!r}; recordings 0 to "
                f"{HELD_OUT - 1} are for test, later ones for training."
            )
        here = (wanted == digit).nonzero()[:, 0]
        chosen[here] = found[torch.randint(len(found), (len(here),), generator=generator)]
    return chosen
