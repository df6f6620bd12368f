"""One self-describing file for a run: tensors by safetensors, everything else in a JSON header.

The header, under the key ``pnpfusion``, holds ``format`` (1), ``version`` (of the package),
``outcome``, ``choice``, ``outcomes`` (of each sample, if the run can be continued from its tensors
``standing.*``), ``units`` (of every tensor), ``dynamics`` (the law with its parameters, so that
:func:`load` returns a run whose ledger and pictures work) and ``digest`` (of all this, by which
damage is seen; files without one are read as they are). A parameter that is a tensor is written as
``{"$tensor": key}``, one that varies in space as ``{"$field": key}``. Nothing in the file is
executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import pnpfusion
from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.sealed_file import DamagedFile, parsed, seal, write_tensors
from pnpfusion.solution import Solution
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.field import Field
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Pace, Standing, Work

FORMAT = 1
UNITS = {
    "times": "L^2/D_ref",
    "states": "c_ref",
    "residuals": "c_ref D_ref/L^2",
    "lowest": "c_ref",
    "succeeded": "1",
    "permittivity": "1",
    "fixed_charge": "F c_ref",
    "valence": "1",
    "diffusivity": "D_ref",
    "potential": "kT/e",
    "surface_charge": "F c_ref L",
    "stern": "L",
    "concentration": "c_ref",
    "flux": "D_ref c_ref/L",
    "t": "L^2/D_ref",
    "u": "c_ref",
    "slope": "c_ref D_ref/L^2",
    "dt": "L^2/D_ref",
}
LAWS: dict[str, type[Dynamics]] = {"PNP": PNP}  #: by the name that a file gives its law


def save(solution: Solution, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write ``solution`` to ``path``, as a whole or not at all.

    Raises:
        FileExistsError: the file is there already and ``overwrite`` is not set.
        ValueError: the law has no description (it is not one of this package), or its folder is
            not there.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} is there already; choose another name or overwrite=True {Faq.FILE_IS_THERE}."
        )
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} is not there; make it first.")
    tensors = {
        "times": solution.times,
        "states": solution.states,
        "residuals": solution.residuals,
        "succeeded": solution.succeeded,
    }
    if solution.lowest is not None:
        tensors["lowest"] = solution.lowest
    tensors |= {f"work.{f.name}": getattr(solution.work, f.name) for f in fields(Work)}
    if solution.standing is not None:
        tensors |= _tensors_of(solution.standing)
    dynamics = solution.dynamics
    if dynamics is not None and type(dynamics).__name__ not in LAWS:
        raise ValueError(
            f"a file can describe the laws {sorted(LAWS)}, not {type(dynamics).__name__}; save "
            f"`states` yourself, or the run with dataclasses.replace(run, dynamics=None)."
        )
    described = {
        "dynamics": None
        if dynamics is None
        else dynamics.description(solution.times, tuple(solution.succeeded.shape)),
        "x": dict(solution.x) if isinstance(solution.x, Mapping) else solution.x,
    }
    described = _without_tensors(described, "", tensors)
    header = {
        "format": FORMAT,
        "version": pnpfusion.__version__,
        "outcome": solution.outcome.name,
        "choice": solution.choice,
        "outcomes": _outcomes_of(solution.standing),
        "law": None if dynamics is None else type(dynamics).__name__,
        "units": {name: _unit(name) for name in tensors},
        **described,
    }
    plain = {name: value.detach().cpu() for name, value in tensors.items()}
    header["digest"] = seal(header, plain)
    write_tensors(target, plain, "pnpfusion", json.dumps(header))
    return target


def _is_safetensors(source: Path) -> bool:
    """Whether it begins as one: the length of a header, then its opening brace."""
    with source.open("rb") as file:
        return file.read(9)[8:] == b"{"


def load(path: str | Path) -> Solution:
    """The run that :meth:`Solution.save` wrote to ``path``, with its law.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no run of this package (a trained model has
            ``FusionModel.from_pretrained``), is damaged, or is of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source} {Faq.DATA_NOT_FOUND}.")
    if not _is_safetensors(source):
        raise ValueError(
            f"{source} is not a run saved by pnpfusion: it is no safetensors file; wanted is what "
            f"`Solution.save` or `pnpfusion simulate` wrote, such as run.safetensors "
            f"{Faq.DAMAGED_FILE}."
        )
    try:
        with safe_open(source, framework="pt") as file:
            metadata = file.metadata() or {}
            if "pnpfusion_model" in metadata:
                raise ValueError(
                    f"{source} holds a trained model, as `pnpfusion train` and save_pretrained "
                    f"write it, and no run; load its folder: pnpfusion.training.FusionModel"
                    f".from_pretrained({str(source.parent)!r}) {Faq.DAMAGED_FILE}."
                )
            if "pnpfusion" not in metadata:
                raise DamagedFile("its metadata have no entry `pnpfusion`")
            header = parsed(metadata["pnpfusion"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, DamagedFile, OSError) as error:
        raise ValueError(
            f"{source} is not a run saved by pnpfusion, or is damaged: {error} {Faq.DAMAGED_FILE}."
        ) from None
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{source} has format {header.get('format')!r}, this version of pnpfusion reads format "
            f"{FORMAT}; it was written by pnpfusion {header.get('version')} {Faq.OTHER_VERSION}."
        )
    if "digest" in header and header["digest"] != seal(header, tensors):
        raise ValueError(
            f"{source} is damaged: its content is not what was written {Faq.DAMAGED_FILE}."
        )
    try:
        law = header["law"]
        dynamics = None
        if law is not None:
            dynamics = LAWS[law].from_description(_with_tensors(header["dynamics"], tensors))
        x: Input = _with_tensors(header["x"], tensors)
        return Solution(
            times=tensors["times"],
            states=tensors["states"],
            outcome=Outcome[header["outcome"]],
            succeeded=tensors["succeeded"],
            rest_rates=tensors["residuals"],
            work=Work(*(tensors[f"work.{f.name}"] for f in fields(Work))),
            dynamics=dynamics,
            x=x,
            lowest=tensors.get("lowest"),
            choice=header.get("choice", ""),
            standing=_standing(header.get("outcomes"), tensors),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{source} is damaged: {type(error).__name__} {error} {Faq.DAMAGED_FILE}."
        ) from None


def _tensors_of(standing: Standing) -> dict[str, Tensor]:
    """Where a run stands, without its work, which the file holds already."""
    named = {name: getattr(standing, name) for name in ("t", "u", "slope", "next", "going")}
    named |= {f"pace.{f.name}": getattr(standing.pace, f.name) for f in fields(Pace)}
    if standing.lowest is not None:
        named["lowest"] = standing.lowest
    return {f"standing.{name}": value for name, value in named.items()}


def _outcomes_of(standing: Standing | None) -> list[str] | None:
    return None if standing is None else [outcome.name for outcome in standing.outcomes]


def _standing(outcomes: list[str] | None, tensors: Mapping[str, Tensor]) -> Standing | None:
    """The inverse of the two above; None if the file does not say where the run stands."""
    if outcomes is None:
        return None
    return Standing(
        **{name: tensors[f"standing.{name}"] for name in ("t", "u", "slope", "next", "going")},
        outcomes=tuple(Outcome[name] for name in outcomes),
        pace=Pace(*(tensors[f"standing.pace.{f.name}"] for f in fields(Pace))),
        work=Work(*(tensors[f"work.{f.name}"].reshape(-1) for f in fields(Work))),
        lowest=tensors.get("standing.lowest"),
        pieces=1,
    )


def _unit(name: str) -> str:
    """The unit of a tensor, by the last part of its name that has one."""
    parts = name.replace(":", ".").split(".")
    return next((UNITS[part] for part in reversed(parts) if part in UNITS), "1")


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` ready for JSON; its tensors go to ``tensors`` under names made of their place."""
    if isinstance(value, Field):
        tensors[name] = value.values
        return {"$field": name}
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        return {
            key: _without_tensors(inner, f"{name}.{key}" if name else key, tensors)
            for key, inner in value.items()
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_without_tensors(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of :func:`_without_tensors`."""
    if isinstance(value, dict):
        if set(value) == {"$field"}:
            return Field(tensors[value["$field"]])
        if set(value) == {"$tensor"}:
            return tensors[value["$tensor"]]
        return {key: _with_tensors(inner, tensors) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_tensors(inner, tensors) for inner in value]
    return value
