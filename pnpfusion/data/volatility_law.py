"""A made-up panel of markets whose next day's volatility has a known best predictor."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.solvers.arguments import check_known

DAYS = 22  #: of the past that a sample shows: a month of trading
BURN_IN = 500  #: days before the first sample, so that the start is forgotten
MEAN_ABS = math.sqrt(2 / math.pi)  #: E|z| of a standard normal z
STD_ABS = math.sqrt(1 - 2 / math.pi)  #: its standard deviation
MODALITIES = ("variance", "returns", "volume", "sentiment")


@dataclass(frozen=True)
class VolatilityLaw:
    r"""Log-variance that remembers a day, a week and a month [Cor09], with shocks from elsewhere.

    With z, s, e and n independent standard normals of each asset and day,

    .. math::

        x_{t+1} &= m + b_d (x_t - m) + b_w (\bar x^{(5)}_t - m) + b_m (\bar x^{(22)}_t - m)
                   - \ell z_t + g s_t v_t + \sigma n_{t+1} \\
        r_t &= e^{x_t / 2} z_t, \qquad
        v_t = \sqrt{1 - q^2}\, \frac{|z_t| - E|z|}{\mathrm{std}|z|} + q e_t.

    A sample shows 22 days of each modality: ``"variance"`` x, ``"returns"`` r, ``"volume"`` v and
    ``"sentiment"`` s, the last day last; asked for is :math:`x_{t+1}`. Its conditional mean given
    the sample is the first line without n (:meth:`best`), so no predictor has an expected squared
    error below :math:`\sigma^2` (:meth:`best_loss`). To reach it a model must divide returns by
    what variance says, and multiply sentiment by volume. Effects of the law, not estimates of any
    market.

    Raises:
        ValueError: a memory that does not fade, or a volume noise outside of [0, 1], or no noise.
    """

    day: float = 0.36  #: b_d, how much of yesterday stays
    week: float = 0.28  #: b_w
    month: float = 0.28  #: b_m
    leverage: float = 0.3  #: l: falling prices make for volatility
    news: float = 0.4  #: g: what is said counts by how much is traded
    volume_noise: float = 0.8  #: q: the share of volume that has nothing to do with returns
    noise: float = 0.4  #: sigma: what cannot be known the day before
    mean: float = -9.0  #: m: variance e^-9, about 1.1 % a day

    def __post_init__(self) -> None:
        past = (self.day, self.week, self.month)
        if not (all(share >= 0 for share in past) and sum(past) < 1):
            raise ValueError(
                f"`day`, `week` and `month` must be >= 0 and less than 1 together, got {past}; "
                f"else volatility has no steady state."
            )
        if not 0 <= self.volume_noise <= 1:
            raise ValueError(f"`volume_noise` must be within [0, 1], got {self.volume_noise}.")
        if not self.noise > 0:
            raise ValueError(f"`noise` must be > 0, got {self.noise}.")

    def draw(self, assets: int, days: int, generator: torch.Generator) -> Features:
        """A panel: ``assets`` independent markets, ``days`` samples of each, asset after asset.

        Splits in time, the same for all assets: the first 60 % of days for training, then 20 % for
        validation and for test, each but the first without its first 22 days, so that no day is
        shown in two of them.

        Args:
            assets: how many markets, at least 1.
            days: how many samples of each.
            generator: where the randomness comes from.

        Raises:
            ValueError: no assets, or days that leave a split empty.
        """
        shown = torch.arange(days)
        ends = {"train": (0, 6 * days // 10), "valid": (6 * days // 10, 8 * days // 10)}
        ends["test"] = (8 * days // 10, days)
        parts = {}
        for name, (first, last) in ends.items():
            parts[name] = shown[first + (DAYS if first else 0) : last]
        if assets < 1 or not all(len(part) for part in parts.values()):
            raise ValueError(
                f"`assets` must be >= 1 and `days` >= {5 * DAYS + 5}, got {assets} and {days}."
            )
        total = BURN_IN + DAYS + days
        z, s, e, n = torch.randn(4, assets, total, dtype=torch.float64, generator=generator)
        v = math.sqrt(1 - self.volume_noise**2) * (z.abs() - MEAN_ABS) / STD_ABS
        v = v + self.volume_noise * e
        x = torch.full((assets, total), self.mean, dtype=torch.float64)
        for t in range(DAYS - 1, total - 1):
            past = self._remembered(x[:, t - DAYS + 1 : t + 1])
            shock = self.news * s[:, t] * v[:, t] - self.leverage * z[:, t]
            x[:, t + 1] = past + shock + self.noise * n[:, t + 1]
        series = {"variance": x, "returns": (x / 2).exp() * z, "volume": v, "sentiment": s}
        windows = {
            name: values[:, BURN_IN:-1].unfold(1, DAYS, 1).flatten(0, 1).contiguous()
            for name, values in series.items()
        }
        offsets = days * torch.arange(assets)[:, None]
        return Features(
            "volatility",
            windows,
            target=x[:, BURN_IN + DAYS :].flatten(),
            class_names=("log-variance of the next day",),
            splits={name: (offsets + part).flatten() for name, part in parts.items()},
            feature_names={
                name: tuple(f"{DAYS - 1 - i} days before" for i in range(DAYS)) for name in windows
            },
            source=f"made by pnpfusion.data.volatility; the expected squared error of the best "
            f"predictor is {self.best_loss():.6g}",
        )

    def best(self, modalities: Mapping[str, Tensor]) -> Tensor:
        r"""The conditional mean of the target given some of the modalities, (n,).

        What is not shown is replaced by its mean given the rest: :math:`z_t` by 0, :math:`s_t` by
        0, :math:`v_t` by its part that follows from :math:`z_t`, or by 0 without returns.

        Args:
            modalities: of samples as :meth:`draw` makes them; ``"variance"`` must be among them.

        Raises:
            ValueError: variance is missing: then there is no closed form.
        """
        self._check(set(MODALITIES) - set(modalities))
        x = modalities["variance"]
        mean = self._remembered(x)
        z = volume = None
        if "returns" in modalities:
            z = modalities["returns"][:, -1] * (-x[:, -1] / 2).exp()
            mean = mean - self.leverage * z
            volume = math.sqrt(1 - self.volume_noise**2) * (z.abs() - MEAN_ABS) / STD_ABS
        if "volume" in modalities:
            volume = modalities["volume"][:, -1]
        if "sentiment" in modalities and volume is not None:
            mean = mean + self.news * modalities["sentiment"][:, -1] * volume
        return mean

    def best_loss(self, absent: Collection[str] = ()) -> float:
        r"""The expected squared error of :meth:`best`, which no predictor falls below.

        .. math:: \sigma^2 + \ell^2 [\text{no returns}] + g^2 u

        with u = 1 without sentiment; else, without volume, :math:`q^2`, and 1 if returns are
        missing too; else 0.

        Args:
            absent: modalities that are not shown.

        Raises:
            ValueError: an unknown modality, or variance among them.
        """
        self._check(set(absent))
        loss = self.noise**2
        if "returns" in absent:
            loss += self.leverage**2
        if "sentiment" in absent or {"volume", "returns"} <= set(absent):
            loss += self.news**2
        elif "volume" in absent:
            loss += (self.news * self.volume_noise) ** 2
        return loss

    def _remembered(self, x: Tensor) -> Tensor:
        """The mean of the next day but for shocks, from the days before, (n, 22)."""
        y = x - self.mean
        past = self.day * y[:, -1] + self.week * y[:, -5:].mean(1) + self.month * y.mean(1)
        return self.mean + past

    def _check(self, absent: set[str]) -> None:
        check_known("absent", sorted(absent), MODALITIES, "modalities")
        if "variance" in absent:
            raise ValueError("without 'variance' the best predictor has no closed form; give it.")


def volatility(
    assets: int = 20,
    days: int = 500,
    *,
    law: VolatilityLaw | None = None,
    generator: torch.Generator,
) -> Features:
    """A panel of made-up markets, :meth:`VolatilityLaw.draw`: next day's log-variance is asked for.

    Args:
        assets: independent markets.
        days: samples of each.
        law: what drives them; None is ``VolatilityLaw()``, whose best predictor has an expected
            squared error of 0.16.
        generator: where the randomness comes from.

    Raises:
        ValueError: no assets, or days that leave a split empty.
    """
    return (law or VolatilityLaw()).draw(assets, days, generator)
