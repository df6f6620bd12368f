"""Data sets with a name, read from the packages that bring them; nothing is downloaded."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.data.labels import classes
from pnpfusion.data.tables import from_csv
from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.faq import Faq

HTAD_TERMS = (
    "The data is released fully open for research and educational purposes. The use of the "
    "dataset for purposes such as competitions and commercial purposes needs prior written "
    "permission. In all documents and papers that use or refer to the dataset or report "
    "experimental results based on the HTAD, a reference to the related article needs to be added: "
    "https://link.springer.com/chapter/10.1007/978-3-030-67835-7_17."
)
DIGITS_TERMS = "Creative Commons Attribution 4.0 (CC BY 4.0): share and adapt, naming the source."
DIGITS_SOURCE = (
    "scikit-learn's load_digits: Optical Recognition of Handwritten Digits by E. Alpaydin and "
    "C. Kaynak, UCI Machine Learning Repository, doi 10.24432/C50P49"
)
FIRST, LAST, ALL = slice(0, 4), slice(4, 8), slice(0, 8)
#: Rows and columns of each part of an image.
CUTS = {
    "halves": {"left": (ALL, FIRST), "right": (ALL, LAST)},
    "quadrants": {
        "top left": (FIRST, FIRST),
        "top right": (FIRST, LAST),
        "bottom left": (LAST, FIRST),
        "bottom right": (LAST, LAST),
    },
}


def htad() -> Features:
    """Seven home tasks, heard and felt: HTAD, 1386 samples of 36 audio and 16 motion features.

    Mel-frequency cepstral coefficients of a microphone, and statistics of an accelerometer at the
    wrist, by Garcia-Ceja et al. [GC21]. Read from the installed package ``multiviewstacking``,
    whose own readme states the terms of the data: ``htad().terms``.

    Raises:
        ImportError: that package is not installed.
        ValueError: its table is not the one that this reader knows.
    """
    try:
        package = distribution("multiviewstacking")
    except PackageNotFoundError:
        raise _missing("HTAD", "multiviewstacking") from None
    folder = Path(str(package.locate_file("multiviewstacking/data")))
    table = from_csv(folder / "htad.csv", label="class")
    if set(table.dims) != {"v1", "v2"}:
        raise ValueError(
            f"multiviewstacking {package.version} holds views {list(table.dims)} of HTAD, wanted "
            f"v1 and v2; install the version that this was made for: pip install 'pnpfusion[data]'."
        )
    views = {"audio": "v1", "motion": "v2"}
    return replace(
        table,
        name="HTAD",
        modalities={name: table.modalities[view] for name, view in views.items()},
        feature_names={
            name: tuple(column.removeprefix(f"{view}_") for column in table.feature_names[view])
            for name, view in views.items()
        },
        terms=_terms(folder / "HTAD Readme.txt"),
        source=f"htad.csv of the package multiviewstacking {package.version}",
    )


def digits(parts: Literal["halves", "quadrants"] = "halves") -> Features:
    """Handwritten digits cut up: 1797 images of 8 x 8, their halves or quadrants.

    A modality is the 32 pixels of the left or right half, or the 16 of a quadrant (``top left``,
    ``top right``, ``bottom left``, ``bottom right``), row by row, from 0 (empty) to 16 (full). Read
    from scikit-learn.

    Args:
        parts: how to cut.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: other parts.
    """
    check_choice("parts", parts, CUTS)
    images, labels, class_names = digit_images()
    cuts = CUTS[parts]
    return Features(
        "digits",
        {name: images[:, rows, columns].flatten(1) for name, (rows, columns) in cuts.items()},
        target=labels,
        class_names=class_names,
        feature_names={
            name: tuple(
                f"pixel {row},{column}" for row in range(8)[rows] for column in range(8)[columns]
            )
            for name, (rows, columns) in cuts.items()
        },
        terms=DIGITS_TERMS,
        source=DIGITS_SOURCE,
    )


def digit_images() -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The images of scikit-learn's digits, (1797, 8, 8) from 0 to 16, their classes and names.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise _missing("digits", "scikit-learn")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels, names = classes([str(target) for target in bunch.target], "digits")
    return torch.from_numpy(bunch.images).double(), labels, names


def _terms(readme: Path) -> str:
    """The terms in the words of the package; those of its version 0.7.5 if they are not found."""
    if not readme.is_file():
        return HTAD_TERMS
    text = readme.read_text(encoding="utf-8", errors="replace")
    words = text.partition("Terms of use")[2].partition("Contact")[0]
    return " ".join(words.split()) or HTAD_TERMS


def _missing(name: str, package: str) -> ImportError:
    return ImportError(
        f"the data set {name} comes with the package {package}, which is not installed; "
        f"install it with: pip install 'pnpfusion[data]' {Faq.MISSING_PACKAGE}",
        name=package,
    )
