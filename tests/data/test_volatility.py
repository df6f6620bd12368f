"""The volatility panel: its best predictor is as good as stated, and no split leaks."""

import math
from typing import Any

import pytest
import torch

from pnpfusion import data
from pnpfusion.data.volatility_law import DAYS

LAW = data.VolatilityLaw()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def panel() -> data.Features:
    return LAW.draw(200, 500, generator())


@pytest.mark.parametrize(
    ("absent", "wanted"),
    [
        ((), 0.16),
        (("returns",), 0.25),
        (("volume",), 0.2624),
        (("sentiment",), 0.32),
        (("returns", "volume"), 0.41),
        (("volume", "sentiment"), 0.32),
        (("returns", "volume", "sentiment"), 0.41),
    ],
    ids=str,
)
def test_the_best_predictor_is_as_good_as_stated(
    panel: data.Features, absent: tuple[str, ...], wanted: float
) -> None:
    assert LAW.best_loss(absent) == pytest.approx(wanted, rel=1e-12)
    shown = {name: v for name, v in panel.modalities.items() if name not in absent}
    errors = (LAW.best(shown) - panel.target).square()
    spread = float(errors.std()) / math.sqrt(len(errors))
    assert abs(float(errors.mean()) - wanted) < 4 * spread
    assert spread < 0.02 * wanted


def test_no_linear_predictor_reaches_it(panel: data.Features) -> None:
    """Products of modalities are needed, and each modality helps also the linear one."""
    columns = [torch.ones(len(panel), 1, dtype=torch.float64), *panel.modalities.values()]
    x, y = torch.cat(columns, 1), panel.target
    assert y is not None
    train, test = panel.splits["train"], panel.splits["test"]
    weights = torch.linalg.lstsq(x[train], y[train, None]).solution
    loss = float((x[test] @ weights - y[test, None]).square().mean())
    assert loss > 1.9 * LAW.best_loss()
    assert loss < float(y[test].var())


def test_a_series_does_not_run_away(panel: data.Features) -> None:
    assert panel.target is not None
    assert float(panel.target.mean()) == pytest.approx(LAW.mean, abs=0.2)
    parts = panel.target.reshape(200, 500)
    assert float(parts[:, :100].var() / parts[:, -100:].var()) == pytest.approx(1, abs=0.2)


def test_windows_are_the_past_of_their_target() -> None:
    panel = LAW.draw(2, 120, generator())
    assert panel.dims == dict.fromkeys(("variance", "returns", "volume", "sentiment"), DAYS)
    assert panel.task == "numbers"
    assert panel.target is not None
    for asset in range(2):
        x = panel.modalities["variance"][asset * 120 : (asset + 1) * 120]
        y = panel.target[asset * 120 : (asset + 1) * 120]
        assert torch.equal(x[1:, :-1], x[:-1, 1:])
        assert torch.equal(y[:-1], x[1:, -1])
    assert "squared error of the best predictor is 0.16" in panel.source


def test_no_day_is_shown_in_two_splits() -> None:
    panel = LAW.draw(3, 200, generator())
    days: dict[str, set[int]] = {}
    for name, rows in panel.splits.items():
        assert len(rows) % 3 == 0
        own = rows[rows < 200].tolist()  # of the first asset: window and target of day i
        days[name] = {day for i in own for day in range(i, i + DAYS + 1)}
    assert not days["train"] & days["valid"]
    assert not days["valid"] & days["test"]
    assert max(days["train"]) < min(days["valid"]) < min(days["test"])
    assert max(panel.splits["train"] % 200) + 1 == 120


def test_the_same_seed_is_the_same_panel() -> None:
    first, again, other = (data.volatility(2, 120, generator=generator(s)) for s in (0, 0, 1))
    assert torch.equal(first.modalities["returns"], again.modalities["returns"])
    assert not torch.equal(first.modalities["returns"], other.modalities["returns"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.VolatilityLaw(day=0.5, week=0.5), "less than 1 together"),
        (lambda: data.VolatilityLaw(day=-0.1), "must be >= 0"),
        (lambda: data.VolatilityLaw(volume_noise=1.5), "`volume_noise` must be within"),
        (lambda: data.VolatilityLaw(noise=0), "`noise` must be > 0"),
        (lambda: LAW.draw(0, 200, generator()), "`assets` must be >= 1"),
        (lambda: LAW.draw(1, 110, generator()), "`days` >= 115, got 1 and 110"),
        (lambda: LAW.best_loss(["price"]), "`absent` has unknown modalities .'price'"),
        (lambda: LAW.best_loss(["variance"]), "has no closed form"),
        (lambda: LAW.best({}), "has no closed form"),
    ],
)
def test_laws_that_cannot_be(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
