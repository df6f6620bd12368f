"""What the options of ``pnpfusion simulate`` do, and where its runs go."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import pnpfusion as pf
from tests.cli.commands import simulate, summary

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_quiet_says_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert (here / "runs" / "simulate-001" / "summary.json").exists()


def test_runs_are_numbered_and_never_replaced_silently(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert simulate("--quiet") == 0
    assert sorted(path.name for path in (here / "runs").iterdir()) == [
        "simulate-001",
        "simulate-002",
    ]
    before = (here / "runs" / "simulate-001" / "summary.json").read_bytes()
    assert simulate("--out", "runs/simulate-001") == 2
    assert "--out runs/simulate-001 is not empty" in capsys.readouterr().err
    assert (here / "runs" / "simulate-001" / "summary.json").read_bytes() == before


def test_overwriting_replaces_what_a_run_made_and_nothing_else(here: Path) -> None:
    out = here / "out"
    out.mkdir()
    for name in ("notes.txt", "animation.gif", "space_time_gone_cation.png"):
        (out / name).write_text("mine")
    assert simulate("--quiet", "--out", "out", "--overwrite") == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "animation.gif").exists()
    assert not (out / "space_time_gone_cation.png").exists()
    assert (out / "space_time_audio_cation.png").exists()


def test_a_run_that_fails_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--max-steps", "4", "--out", "failed") == 1
    assert "the run failed: the step limit was reached first" in capsys.readouterr().err
    assert summary(here / "failed")["outcome"] == "OUT_OF_STEPS"
    assert pf.load(here / "failed" / "run.safetensors").outcome is pf.Outcome.OUT_OF_STEPS


def test_a_run_that_fails_at_once_is_kept(here: Path) -> None:
    assert simulate("--max-steps", "1", "--quiet", "--out", "failed") == 1
    assert summary(here / "failed")["outcome"] == "OUT_OF_STEPS"
    assert not (here / "failed" / "ledger.png").exists()  # nothing moved


def test_a_coarse_grid_is_one_line_of_warning(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert simulate("--cells", "8", "--quiet") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the cells (0.125 wide) are coarse for the Debye length")


def test_options_reach_the_cell(here: Path) -> None:
    options = ["--valence", "audio=2", "--diffusivity", "motion=0.5,audio anion=0.1"]
    options += ["--background", "2", "--voltage", "6", "--scheme", "central", "--raw"]
    assert simulate("--quiet", *options, "--sample", "2", "--stepper", "kencarp4") == 0
    solution = pf.load(here / "runs" / "simulate-001" / "run.safetensors")
    cell = solution.dynamics
    assert isinstance(cell, pf.PNP)
    assert [one.valence for one in cell.species] == [2, -2, 1, -1]
    assert [one.diffusivity for one in cell.species] == [1, 0.1, 0.5, 0.5]
    assert cell.scheme == "central"
    assert (cell.walls["x-"].potential, cell.walls["x+"].potential) == (3, -3)
    # the Debye length of the background alone is what was asked for
    assert cell.permittivity == pytest.approx(0.2**2 * 2 * (4 + 4 + 1 + 1))
    features = pf.data.from_csv("mine.csv").samples(2).modalities
    cells = cell.grid.shape[0]
    start = solution.states[0]
    for k, (name, n) in enumerate({"audio": 3, "motion": 2}.items()):
        held = (start[2 * k] - start[2 * k + 1])[torch.arange(n) * cells // n + 1]
        torch.testing.assert_close(held, features[name][0])


@pytest.mark.parametrize("boundary", ["insulating", "periodic"])
def test_what_floats_is_neutral(here: Path, boundary: str) -> None:
    assert simulate("--quiet", "--boundary", boundary, "--sample", "0:2") == 0
    solution = pf.load(here / "runs" / "simulate-001" / "run.safetensors")
    assert solution.ledger.charge.abs().max() < 1e-12
    assert isinstance(solution.dynamics, pf.PNP)
    assert solution.dynamics.grid.boundaries == ("periodic" if boundary == "periodic" else "wall",)


def test_explicit_steppers_agree(here: Path) -> None:
    finals = []
    for stepper in ("tr-bdf2", "dopri5"):
        assert simulate("--quiet", "--stepper", stepper, "--rtol", "1e-7", "--out", stepper) == 0
        finals.append(pf.load(here / stepper / "run.safetensors").final)
    torch.testing.assert_close(*finals, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "modalities", "dtype_of_file"),
    [
        ("index:samples=20,bits=8", {"bits", "index"}, None),
        ("interaction:samples=20,width=4", {"a", "b"}, None),
        ("volatility:assets=1,days=120", {"variance", "returns", "volume", "sentiment"}, None),
        ("mine.safetensors", {"audio", "hand"}, torch.float32),
    ],
)
def test_every_set_that_open_set_knows_runs(
    here: Path, data: str, modalities: set[str], dtype_of_file: torch.dtype | None
) -> None:
    if dtype_of_file is not None:
        draw = torch.Generator().manual_seed(0)
        save_file(
            {
                "audio": torch.randn(5, 3, generator=draw).to(dtype_of_file),
                "hand": torch.randn(5, 2, generator=draw).to(dtype_of_file),
            },
            here / data,
        )
    assert simulate("--quiet", "--data", data, "--sample", "3", "--out", "any") == 0
    run = pf.load(here / "any" / "run.safetensors")
    assert run.succeeded.all()
    assert run.states.dtype == torch.float64
    settings = json.loads((here / "any" / "summary.json").read_text(encoding="utf-8"))["settings"]
    assert {*settings["modality"]} == modalities
