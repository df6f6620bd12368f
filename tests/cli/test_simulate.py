"""``pnpfusion simulate``, end to end: from input to pictures, and what Ctrl-C keeps."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import pnpfusion as pf
from pnpfusion.cli import main
from tests.cli.commands import QUICK, start, summary, write_csv, write_npz

KEYS = {
    "mass_error",
    "energy_drop",
    "energy_largest_rise",
    "min_concentration",
    "steps",
    "seconds",
    "outcome",
    "settings",
}


def known(name: str, package: str) -> Callable[[Path], str]:
    def give(folder: Path) -> str:
        pytest.importorskip(package, reason="the extra 'data' is not installed")
        return name

    return give


@pytest.mark.parametrize(
    ("source", "modalities", "options"),
    [
        (known("htad", "multiviewstacking"), {"audio": 36, "motion": 16}, ["--sample", "5"]),
        (known("digits", "sklearn"), {"left": 32, "right": 32}, ["--sample", "0:4"]),
        (write_csv, {"audio": 3, "motion": 2}, ["--sample", "all", "--boundary", "periodic"]),
        (write_npz, {"left": 4, "right": 2}, ["--sample", "random:2", "--seed", "3"]),
    ],
    ids=["htad", "digits", "csv", "npz"],
)
def test_from_input_to_pictures(
    tmp_path: Path,
    source: Callable[[Path], str],
    modalities: dict[str, int],
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "--data", source(tmp_path), *options, *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "warning" not in err
    assert "100%" in err  # the progress bar
    folder = tmp_path / "runs" / "simulate-001"
    species = [f"{name} {ion}" for name in modalities for ion in ("cation", "anion")]
    pictures = {f"space_time_{name.replace(' ', '_')}.png" for name in species}
    pictures |= {"profiles.png", "ledger.png"}
    if options[1] in ("all", "0:4"):
        pictures |= {"profiles_by_class.png"}
    assert {path.name for path in folder.iterdir()} == pictures | {
        "run.safetensors",
        "summary.json",
    }
    assert all((folder / name).stat().st_size > 10_000 for name in pictures)

    solution = pf.load(folder / "run.safetensors")
    assert solution.succeeded.all()
    assert isinstance(solution.dynamics, pf.PNP)
    assert list(solution.dynamics.names) == species
    many = {"5": (), "0:4": (4,), "all": (6,), "random:2": (2,)}[options[1]]
    cells = solution.dynamics.grid.shape[0]
    assert solution.states.shape == (7, *many, 2 * len(modalities), cells)

    told = summary(folder)
    assert told.keys() >= KEYS
    assert told["outcome"] == "REACHED_END"
    assert told["mass_error"] < 1e-12
    assert told["energy_largest_rise"] <= 1e-9
    assert told["min_concentration"] > 0
    assert told["settings"]["cells"] == cells
    assert told["settings"]["out"] == "runs/simulate-001"
    assert {name: len(c) for name, c in told["settings"]["modality"].items()} == modalities
    for words in ("mass error", "free energy drop", "smallest concentration", "steps", "seconds"):
        assert words in out
    assert "simulate-001" in out
    if options[1] == "5":
        assert "prior written permission" in " ".join(out.split())  # the terms of use


@pytest.mark.slow
def test_the_default_run(tmp_path: Path) -> None:
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    process = start("simulate", cwd=tmp_path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "warning" not in err
    folder = tmp_path / "runs" / "simulate-001"
    assert (folder / "animation.gif").read_bytes().startswith(b"GIF8")
    assert summary(folder)["energy_largest_rise"] <= 1e-9


@pytest.mark.slow
def test_the_gif_shows_the_mean_of_a_batch(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = partial(pf.visualize.animate, frames=6)  # the default run has all
    monkeypatch.setattr(pf.visualize, "animate", few)
    quick = [option for option in QUICK if option != "--no-gif"]
    assert main(["simulate", "--data", "mine.csv", "--sample", "0:3", "--quiet", *quick]) == 0
    assert capsys.readouterr() == ("", "")
    assert (here / "runs" / "simulate-001" / "animation.gif").stat().st_size > 10_000


def test_ctrl_c_keeps_what_was_computed(tmp_path: Path) -> None:
    endless = ["--stepper", "backward-euler", "--rtol", "1e-10", "--times", "2001", "--no-gif"]
    process = start(
        "simulate", "--data", write_csv(tmp_path), "--out", "kept", *endless, cwd=tmp_path
    )
    assert process.stderr is not None
    seen = ""
    try:
        while seen.count("simulate:") < 8:  # the bar moves every tenth of a second
            more = process.stderr.read(1)
            assert more, seen  # it ended before we could interrupt it
            seen += more
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted at t = " in rest
    assert "what was computed goes to kept" in rest
    solution = pf.load(tmp_path / "kept" / "run.safetensors")
    assert solution.outcome is pf.Outcome.INTERRUPTED
    assert 1 < len(solution.times) < 2001
    assert summary(tmp_path / "kept")["outcome"] == "INTERRUPTED"
    assert (tmp_path / "kept" / "ledger.png").exists()
