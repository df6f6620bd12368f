"""The page of results: a tiny one is complete, made again from what is kept, and names gaps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from docs.results import ablations, plans, targets
from docs.results.__main__ import main
from docs.results.ablations import difference
from docs.results.findings import against_reference
from docs.results.papers import gmf_parameters
from docs.results.targets import Loss
from pnpfusion.comparison import Row, paired_difference
from pnpfusion.data import open_set
from pnpfusion.training import MODELS
from pnpfusion.training.models import modalities_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plans.DATA, str(folder / "nothing"))
        assert main(["--quick", "--work", str(folder), "--workers", "1"]) == 0
    return folder


def cells(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("cells/*.json")}


def test_the_page_is_complete(made: Path) -> None:
    text = (made / "results.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings == [
        "The answer",
        "What was aimed at",
        "How it was measured",
        "Interaction",
        "Volatility",
        "Sets that were absent",
        "Noise",
        "INDEX",
        "One thing changed",
        "Inside a trained PNP layer",
        "The papers' own numbers",
    ]
    pictures = re.findall(r"\]\((images/.*?)\)", text)
    assert len(pictures) == 6
    assert all((made / picture).stat().st_size > 1000 for picture in pictures)
    assert "nan" not in text.replace("finance", "")
    assert "0.160 in expectation" in text
    assert "No late fusion can exceed 0.7884 here" in text
    for model in ("`concat`", "`gmf`", "`pnp`"):
        assert model in text


def test_absent_sets_are_named(made: Path) -> None:
    text = (made / "results.md").read_text(encoding="utf-8")
    part = text.partition("## Sets that were absent")[2].partition("\n## ")[0]
    assert re.search(r"- BRCA769: no brca769.npz in the folder that PNPFUSION_RESULTS_DATA", part)
    assert str(made) not in text


def test_what_is_done_is_not_done_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plans.DATA, str(made / "nothing"))
    before, page = cells(made), (made / "results.md").read_text(encoding="utf-8")
    assert len(before) > 20
    assert main(["--quick", "--work", str(made), "--workers", "1"]) == 0
    assert cells(made) == before
    again = (made / "results.md").read_text(encoding="utf-8")
    where = re.compile(r"^\*Where\.\*.*$", re.M)  # which tells the day
    assert where.sub("", again) == where.sub("", page)


def test_one_part_alone(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--quick", "--work", str(made), "--workers", "1", "--only"]
    assert main([*given, "interaction"]) == 0
    assert "| concat " in capsys.readouterr().out
    assert main([*given, "mfeat"]) == 1
    assert "mfeat is absent" in capsys.readouterr().err


def test_the_whole_plan_is_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plans.DATA, str(tmp_path))
    known = plans.studies(plans.FULL, tmp_path)
    assert {one.key for one in known if one.data} >= {"digits", "interaction", "volatility"}
    for one in known:
        if one.data is not None:
            plan = one.plan(plans.FULL)
            assert (len(plan.seeds), len(plan.tuning)) == (5, 1)
    assert set(plans.FUSED) <= set(MODELS)
    asked = {model for plan in ablations.plans(plans.FULL) for model in plan.models}
    for variant in (variant for one in ablations.ABLATIONS for variant in one.variants):
        assert variant.model in asked
        assert modalities_of(variant.model, {"a": 3, "b": 2}) == ("a", "b")
    absent = next(one for one in known if one.key == "brca769")
    with pytest.raises(ValueError, match="BRCA769 is absent"):
        absent.plan(plans.FULL)


def test_views_of_mfeat_are_joined(tmp_path: Path) -> None:
    draw, label = np.random.default_rng(0), np.arange(20) % 4
    for width, name in enumerate(plans.MFEAT, 2):
        table = np.column_stack([draw.normal(size=(20, width)), label])
        head = ",".join(map(str, range(width + 1)))
        np.savetxt(tmp_path / f"mfeat-{name}.csv", table, delimiter=",", header=head, comments="")
    data = open_set(str(plans.joined_mfeat(tmp_path, tmp_path / "work")))
    assert data.dims == {"fou": 2, "zer": 3, "mor": 4}
    assert data.task == "classes"
    table[0, -1] = 3
    np.savetxt(tmp_path / "mfeat-mor.csv", table, delimiter=",", header=head, comments="")
    with pytest.raises(ValueError, match="labels of the views differ"):
        plans.joined_mfeat(tmp_path, tmp_path / "work")


def row(model: str, scores: list[list[float | None]], beside: list[list[float]] | None) -> Row:
    found = None if beside is None else paired_difference(np.array(scores, float), beside)
    grid = tuple(tuple(seed) for seed in scores)
    return Row(model, {}, found, None, {}, {}, grid, len(grid), len(grid))


def test_verdicts_follow_from_intervals() -> None:
    base = [[0.5], [0.6], [0.7]]
    assert against_reference(row("a", [[0.61], [0.7], [0.81]], base)) == "above"
    assert against_reference(row("a", [[0.4], [0.51], [0.6]], base)) == "below"
    assert against_reference(row("a", [[0.4], [0.7], [0.7]], base)) == "open"
    assert against_reference(row("concat", base, None)) == "none"  # type: ignore[arg-type]
    found = difference(row("a", [[0.8], [None], [0.9]], None), row("b", base, None))  # type: ignore[arg-type]
    assert found is not None
    assert found.interval.mean == pytest.approx(0.25)
    assert found.interval.seeds == 2


def test_a_loss_counts_only_with_a_score_kept() -> None:
    assert Loss("pnp", 0.1, 0.2, 0.9, 0.8, 0.7).counts
    assert not Loss("pnp", 0.13, 0.2, 0.9, 0.8, 0.7).counts
    assert not Loss("pnp", 0.0, 0.2, 0.5, 0.5, 0.7).counts
    assert targets.LESS_LOST == 0.4


def test_parameters_are_those_of_the_papers_table() -> None:
    assert [gmf_parameters(w) for w in ((512, 512), (128, 4096))] == [5_250_048, 119_202_816]
