"""The command line: which commands and choices there are, and which samples are meant."""

from typing import get_args

import pytest

import pnpfusion as pf
from pnpfusion.cli import main
from pnpfusion.cli import simulate_options as command
from pnpfusion.cli.simulate_inputs import IMPLICIT, pick
from pnpfusion.solvers.steppers.odeint import Method


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
