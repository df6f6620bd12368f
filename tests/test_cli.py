"""The command line, end to end: what it makes, what it says, and how it says no."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import pnpfusion as pf
from pnpfusion.cli import main
from pnpfusion.cli import simulate_options as command
from pnpfusion.cli.simulate_inputs import IMPLICIT, pick
from pnpfusion.solvers.steppers.odeint import Method
from tests.source_tree import ROOT

#: Small enough to take a second, fine enough to warn of nothing.
QUICK = ["--debye", "0.2", "--duration", "0.001", "--times", "7", "--no-gif"]
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


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, which hears Ctrl-C even if ours does not."""
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pnpfusion.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return found


def write_csv(folder: Path) -> str:
    rows = np.random.default_rng(0).normal(size=(6, 5))
    lines = [",".join(f"{x:.6f}" for x in row) + f",{'ab'[i % 2]}" for i, row in enumerate(rows)]
    header = "audio_1,audio_2,audio_3,motion_1,motion_2,label"
    (folder / "mine.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return "mine.csv"


def write_npz(folder: Path) -> str:
    draw = np.random.default_rng(0)
    np.savez(folder / "mine.npz", left=draw.normal(size=(5, 4)), right=draw.normal(size=(5, 2)))
    return "mine.npz"


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
) -> None:
    done = run("simulate", "--data", source(tmp_path), *options, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert "100%" in done.stderr  # the progress bar
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
        assert words in done.stdout
    assert "simulate-001" in done.stdout
    if options[1] == "5":
        assert "prior written permission" in " ".join(done.stdout.split())  # the terms of use


@pytest.mark.slow
def test_the_default_run(tmp_path: Path) -> None:
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    done = run("simulate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    folder = tmp_path / "runs" / "simulate-001"
    assert (folder / "animation.gif").read_bytes().startswith(b"GIF8")
    assert summary(folder)["energy_largest_rise"] <= 1e-9


@pytest.mark.slow
def test_the_gif_shows_the_mean_of_a_batch(tmp_path: Path) -> None:
    quick = [option for option in QUICK if option != "--no-gif"]
    data = write_csv(tmp_path)
    done = run("simulate", "--data", data, "--sample", "0:3", "--quiet", *quick, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "runs" / "simulate-001" / "animation.gif").stat().st_size > 10_000


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


# ---- in this process, which is quicker


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of our own to stand in, with a table."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path)
    write_npz(tmp_path)
    (tmp_path / "single.csv").write_text("a_1,b_1\n1,2\n")
    return tmp_path


def simulate(*options: str) -> int:
    return main(["simulate", "--data", "mine.csv", *QUICK, *options])


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


BAD = [
    ("--data nothing", r"'nothing' is no known set and no path that is there; wanted one of \['ht"),
    ("--data index:bit=3", "the set 'index' has options .*, got 'bit=3'"),
    ("--data index --label y", "--label tells of a .csv file, but --data is index"),
    ("--data none.csv", "none.csv is not there or no file; check the path"),
    ("--data none.npz", "'none.npz' is no known set and no path that is there"),
    ("--data single.csv", "'single' has one sample, .* On the command line that is --raw"),
    ("--data mine.npz --label y", "--label tells of a .csv file, but --data is mine.npz"),
    ("--data mine.npz --modality a=b", "--modality tells of a .csv file"),
    ("--label labl", r"no column 'labl' for label; near it: \['label'\]"),
    ("--modality a=audio_9", "no column 'audio_9' for modality 'a'; near it"),
    ("--modality a=audio_1 --modality a=audio_2", "--modality has one name twice"),
    ("--sample 6", "--sample 6 is not there; the set has samples 0 to 5"),
    ("--sample 0:9", "--sample 0:9 goes beyond the 6 samples; try 0:6, or all"),
    ("--sample 3:3", "--sample 3:3 is empty"),
    ("--sample random:7", "--sample random:7 wants more samples than there are, 6"),
    ("--times 1", "--times must be 2 or more"),
    ("--cells 2", "`grid` has 2 cells, fewer than the 3 features of 'audio'"),
    ("--debye 1e-5", "--debye 1e-05 is .* and needs [0-9]+ cells; choose a larger one"),
    (
        "--valence smell=2",
        r"`valence` has unknown modalities \['smell'\]; known are \['audio', 'motion'\]",
    ),
    ("--diffusivity smell=2", r"`diffusivity` has unknown names \['smell'\]"),
    ("--boundary periodic --voltage 2", "--voltage 2 needs electrodes, and --boundary periodic"),
    ("--rtol 1e-30", "`rtol` must be >= .* got 1e-30"),
    ("--out mine.csv", "--out mine.csv is a file, wanted a folder"),
    ("--out mine.csv/x", "--out mine.csv/x cannot be made: .*; choose another folder"),
    ("--out .", "--out . is not empty, wanted a new or empty folder; .*--overwrite"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[options for options, _ in BAD])
def test_bad_input_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    before = sorted(here.iterdir())
    assert simulate("--quiet", *options.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("pnpfusion simulate: error: ")
    assert re.search(message, line), line
    assert sorted(here.iterdir()) == before  # no empty folder stays behind


UNREADABLE = [
    ("--cells 0", "argument --cells: got '0', wanted a whole number >= 1"),
    ("--cells 2.5", "argument --cells: got '2.5', wanted a whole number"),
    ("--debye -1", "argument --debye: got '-1', wanted a number > 0"),
    ("--duration nan", "argument --duration: got 'nan', wanted a finite number"),
    ("--voltage x", "argument --voltage: got 'x', wanted a finite number"),
    ("--seed -1", "argument --seed: got '-1', wanted a whole number >= 0"),
    ("--sample 1,2", "argument --sample: got '1,2', wanted one index"),
    ("--sample random:0", "argument --sample: got 'random:0'"),
    ("--valence a=1,a=2", "argument --valence: got 'a' twice"),
    ("--valence a=1,b", "argument --valence: got 'b', wanted one number for all, or name=number"),
    ("--diffusivity 0", "argument --diffusivity: got '0', wanted a number > 0"),
    ("--modality a", "argument --modality: got 'a', wanted name=column,column"),
    ("--modality a=x,", "argument --modality: got 'a=x,'"),
    ("--scheme upwind", "argument --scheme: invalid choice: 'upwind'"),
    ("--cel 5", "unrecognized arguments: --cel 5"),
]


@pytest.mark.parametrize(("options", "message"), UNREADABLE, ids=[o for o, _ in UNREADABLE])
def test_unreadable_options_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        simulate(*options.split())
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pnpfusion")
    assert f"error: {message}" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--version"], f"pnpfusion {pf.__version__}"),
        (["--help"], "simulate"),
        (["simulate", "--help"], "pnpfusion simulate --sample random:64"),
    ],
)
def test_what_there_is(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert words in capsys.readouterr().out


def test_no_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "the following arguments are required: COMMAND" in capsys.readouterr().err


def test_choices_are_those_of_the_library() -> None:
    assert set(command.SCHEMES) == set(pf.solvers.FACE_SCHEMES)
    assert set(command.STEPPERS) <= {*IMPLICIT, *get_args(Method)}
    assert set(IMPLICIT) <= set(command.STEPPERS)


@pytest.mark.parametrize(
    ("text", "picked"),
    [("0", 0), ("-1", 5), ("1:3", [1, 2]), (":2", [0, 1]), ("-2:", [4, 5]), ("3:4", [3])],
)
def test_picking_samples(text: str, picked: int | list[int]) -> None:
    assert pick(text, 6, 0) == picked


def test_random_samples_follow_the_seed() -> None:
    first = pick("random:4", 100, 1)
    assert first == pick("random:4", 100, 1)
    assert first != pick("random:4", 100, 2)
    assert isinstance(first, list)
    assert len(set(first)) == 4
