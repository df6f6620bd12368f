"""``pnpfusion simulate`` says no in one line."""

import re
from pathlib import Path

import pytest

from pnpfusion.cli.messages import CommandError, errors_end_the_command
from pnpfusion.sweeps.folder import locked
from tests.cli.commands import simulate

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


def test_one_run_at_a_time_works_in_a_folder(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "out").mkdir()
    with locked(here / "out", shared=False):
        assert simulate("--out", "out", "--overwrite") == 2
    assert "out is in use by another run, which has not ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"), [("", "asked; ask"), ("9 GiB", r"asked \(9 GiB\); ask")]
)
def test_too_little_memory_is_said_with_what_is_known_of_it(words: str, told: str) -> None:
    error = MemoryError(words) if words else MemoryError()
    with pytest.raises(CommandError, match=told), errors_end_the_command():
        raise error
