"""From a file of cases to the options of each run."""

from __future__ import annotations

import argparse
import hashlib
import json
from argparse import Namespace
from pathlib import Path
from typing import Any, NoReturn

from pnpfusion.cli.messages import CommandError, errors_end_the_command
from pnpfusion.cli.simulate_options import VOLTAGE, add_options
from pnpfusion.data.sets import path_of
from pnpfusion.files import read_json
from pnpfusion.spelling import did_you_mean
from pnpfusion.sweeps.cases import CASES, GRID, Case, expand

#: Options that tell how a run is made; what else there is tells of the command as a whole.
OF_A_CASE = (
    *("data", "modality", "label", "sample", "raw", "seed"),
    *("valence", "diffusivity", "background", "debye", "boundary", "voltage"),
    *("duration", "cells", "times", "scheme", "stepper", "rtol", "max_steps"),
)
#: Those which runs in one call have in common.
ALIKE = (
    *("data", "data_hash", "modality", "raw", "background", "debye", "boundary"),
    *("duration", "cells", "times", "scheme", "stepper", "rtol", "max_steps"),
)


class _Parser(argparse.ArgumentParser):
    """The options of one run; what is wrong with them is a :class:`CommandError`."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def cases_of(options: Namespace) -> list[Case]:
    """Every case of ``options.sweep``, with all options of its run.

    Raises:
        CommandError: the file cannot be read, names what is no option of a run, gives an option a
            value it cannot have, or one that was typed too.
    """
    path = Path(options.sweep)
    with errors_end_the_command():
        plan = read_json(path, f"--sweep {path}")
    if not isinstance(plan, dict):
        raise CommandError(
            f'--sweep {path} must hold a JSON object, e.g. {{"grid": {{"voltage": [10, 20]}}}}, '
            f"got a {type(plan).__name__}."
        )
    try:
        listed = expand(plan)
    except ValueError as error:
        raise CommandError(f"--sweep {path}: {error}") from None
    parser = _Parser(add_help=False, allow_abbrev=False, prog="")
    add_options(parser)
    defaults = parser.parse_args([])
    typed = {
        name for name in OF_A_CASE if getattr(options, name) != getattr(defaults, name)
    }  # or typed as it is anyway, which does no harm
    hashes: dict[str, str | None] = {}
    found = []
    for place, case in enumerate(listed):
        where = f"--sweep {path}, case {place} of {len(listed)}"
        words, named = _words(case, where)
        if twice := sorted(typed & named):
            raise CommandError(
                f"--{twice[0].replace('_', '-')} is typed and stands in {path} too; say it once."
            )
        given = Namespace(**{name: getattr(options, name) for name in OF_A_CASE})
        try:
            parser.parse_args(words, given)
        except CommandError as error:
            raise CommandError(f"{where}: {error}.") from None
        if given.voltage is None and given.boundary == "electrodes":
            given.voltage = VOLTAGE
        full = {name: getattr(given, name) for name in OF_A_CASE}
        if given.data not in hashes:
            source = path_of(given.data)
            hashes[given.data] = None if source is None else _hash(source)
        if hashes[given.data] is not None:
            full["data_hash"] = hashes[given.data]
        found.append(json.loads(json.dumps(full)))
    return found


def options_of(case: Case) -> Namespace:
    """What :func:`cases_of` made a case of."""
    given = {name: case[name] for name in OF_A_CASE}
    if given["modality"] is not None:
        given["modality"] = [(name, columns) for name, columns in given["modality"]]
    return Namespace(**given)


def _words(case: Case, where: str) -> tuple[list[str], set[str]]:
    """A case as it would be typed, and the options it names."""
    words: list[str] = []
    names = [name.replace("_", "-") for name in case]
    valid = [name.replace("_", "-") for name in OF_A_CASE]
    for name, value in zip(names, case.values(), strict=True):
        if name not in valid:
            advice = did_you_mean(name, valid, f"wanted one of {valid}.")
            hint = f" {GRID!r} and {CASES!r} stand at the top." if name in (GRID, CASES) else ""
            raise CommandError(f"{where}: {name!r} is no option of a run; {advice}{hint}")
        if name == "raw":
            if not isinstance(value, bool):
                raise CommandError(f"{where}: 'raw' must be true or false, got {value!r}.")
            words += ["--raw"] if value else []
        elif name == "modality" and isinstance(value, dict | list):
            words += [f"--modality={one}" for one in _modalities(value)]
        elif value is not None:
            words.append(f"--{name}={_word(value, name, where)}")
    return words, {name.replace("-", "_") for name in names}


def _modalities(value: dict[str, Any] | list[Any]) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    return [
        f"{name}={','.join(columns) if isinstance(columns, list) else columns}"
        for name, columns in value.items()
    ]


def _word(value: Any, name: str, where: str) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, bool | list):
        raise CommandError(
            f"{where}: {name!r} must be one number or text, got {value!r}; several values belong "
            f'into "grid".'
        )
    return str(value)


def _hash(path: Path) -> str | None:
    """Of what a data file or the files of a folder hold, so that other data are another case.

    None if there is neither.
    """
    if path.is_dir():
        parts = {
            str(one.relative_to(path)): _hash(one)
            for one in sorted(path.rglob("*"))
            if one.is_file()
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
