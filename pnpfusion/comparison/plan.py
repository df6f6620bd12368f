"""What is compared: sets, models, seeds, folds, and the same budget of tuning for every model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pnpfusion
from pnpfusion.comparison.baselines import BASELINES, baseline_of
from pnpfusion.comparison.set_plan import Facts, SetPlan
from pnpfusion.files import read_json
from pnpfusion.solvers.arguments import check_whole
from pnpfusion.training.checks import known_fields
from pnpfusion.training.models import modalities_of
from pnpfusion.training.recipe import Recipe

REFERENCE = "concat"
EACH = "*"  #: in place of a modality's name: a model for each of them
#: Of a variation, beside what a recipe has.
SIZES = ("hidden", "width")


@dataclass(frozen=True)
class Cell:
    """One training, or one fit of a classical model."""

    data: str  #: the text of the set
    fold: int
    model: str
    variation: int  #: its place in :attr:`Plan.tuning`
    seed: int

    def __str__(self) -> str:
        fold = f", fold {self.fold}" if self.fold else ""
        varied = f", variation {self.variation}" if self.variation else ""
        return f"{self.model} on {self.data}, seed {self.seed}{fold}{varied}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison: every model on every set, for all seeds, folds and variations.

    Models see the same splits for the same seed and fold. What is tuned is chosen for each seed and
    fold by its validation samples alone, out of the same variations for every trained model.

    Raises:
        ValueError: something that is not there, twice there, or out of its range.
    """

    sets: tuple[SetPlan, ...]  #: what to compare on
    models: tuple[str, ...]
    """Names of :data:`pnpfusion.training.MODELS`, also with options (``pnp:coupled=false``),
    "only:NAME", or of :data:`BASELINES`, also as "logistic:NAME"; with "*" for NAME one of each
    modality."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    recipe: Recipe = field(default_factory=Recipe)  #: the same for all; its seed is a cell's
    tuning: tuple[Mapping[str, Any], ...] = ({},)
    """What is changed of the recipe, or of ``hidden`` and ``width``, in each variation."""
    reference: str | None = None  #: whom others are compared with; None: concat, or the first model
    hidden: int = 64  #: width of each encoding
    width: int = 64  #: of the fused feature
    valid: float = 0.2  #: share of samples to select by, where the set has none of its own
    test: float = 0.2  #: likewise to judge by, without folds
    noise: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """Levels at which robustness is measured, in deviations of each feature in training."""

    def __post_init__(self) -> None:
        sets = tuple(SetPlan(one) if isinstance(one, str) else one for one in self.sets)
        object.__setattr__(self, "sets", sets)
        for name in ("models", "seeds", "tuning", "noise"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, values in (
            ("sets", tuple(one.data for one in sets)),
            ("models", self.models),
            ("seeds", self.seeds),
            ("tuning", tuple(json.dumps(dict(one), sort_keys=True) for one in self.tuning)),
        ):
            _check_all_others(name, values)
        for model in self.models:
            if not isinstance(model, str):
                raise ValueError(f"`models` must be names, got {model!r}.")
        for seed in self.seeds:
            check_whole("seeds", seed, 0)
        for name in SIZES:
            check_whole(name, getattr(self, name), 1)
        for name in ("valid", "test"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
                raise ValueError(f"`{name}` must be a share within (0, 1), got {share!r}.")
        levels = [level for level in self.noise if isinstance(level, int | float)]
        if len(levels) < len(self.noise) or any(b <= a for a, b in pairwise((0.0, *levels))):
            raise ValueError(f"`noise` must be levels that rise from above 0, got {self.noise}.")
        for place in range(len(self.tuning)):
            self.varied(place)
        if self.reference is not None and self.reference not in self.models:
            raise ValueError(
                f"`reference` must be among `models` {[*self.models]}, got {self.reference!r}."
            )

    @property
    def against(self) -> str:
        """The model that others are compared with."""
        first = REFERENCE if REFERENCE in self.models else self.models[0]
        return self.reference or first

    def varied(self, variation: int) -> tuple[Recipe, dict[str, int]]:
        """The recipe of a variation, and its hidden and width.

        Raises:
            ValueError: it changes what is not there, or to what may not be.
        """
        told = dict(self.tuning[variation])
        if "seed" in told:
            raise ValueError("`tuning` must not change the seed; `seeds` lists those.")
        sizes = {name: told.pop(name, getattr(self, name)) for name in SIZES}
        for name, size in sizes.items():
            check_whole(name, size, 1)
        return Recipe.from_json({**self.recipe.to_json(), **told}), sizes

    def models_of(self, facts: Facts) -> list[str]:
        """The models for a set, one for each modality where "*" is asked for.

        Baselines for other tasks are left out.

        Args:
            facts: what is known of the set.

        Raises:
            ValueError: no such model or modality.
        """
        found = []
        for model in self.models:
            kind, colon, name = model.partition(":")
            every = colon and name == EACH
            for one in [f"{kind}:{own}" for own in facts.dims] if every else [model]:
                base = baseline_of(one, facts.dims)
                if base is None:
                    modalities_of(one, facts.dims)
                if base is None or facts.task in BASELINES[base.kind].tasks:
                    found.append(one)
        return list(dict.fromkeys(found))

    def cells(self, facts: Mapping[str, Facts]) -> list[Cell]:
        """All there is to do, seed by seed, so that all models are at hand early.

        Args:
            facts: of each set, by its text.

        Raises:
            ValueError: see :meth:`models_of`, or more folds than a set can be cut into.
        """
        found = []
        for seed, one in product(self.seeds, self.sets):
            known = facts[one.data]
            if one.parts > 1 and known.task != "classes":
                raise ValueError(f"folds are of classes, but {one.data!r} has {known.task}.")
            if one.parts > max(1, known.smallest):
                raise ValueError(
                    f"{one.parts} folds need as many samples of each class, but {one.data!r} has "
                    f"one of {known.smallest}."
                )
            for fold, model in product(range(one.parts), self.models_of(known)):
                for variation in range(self.budget(model)):
                    found.append(Cell(one.data, fold, model, variation, seed))
        return found

    def budget(self, model: str) -> int:
        """How many variations of a model are tried; a baseline tunes itself."""
        return 1 if model.partition(":")[0] in BASELINES else len(self.tuning)

    def identity(self, cell: Cell, facts: Facts) -> dict[str, Any]:
        """All that a cell's result depends on, as JSON has it.

        Args:
            cell: one entry of the comparison.
            facts: what is known of its set.
        """
        (one,) = (one for one in self.sets if one.data == cell.data)
        told: dict[str, Any] = {
            "version": pnpfusion.__version__,
            "data": facts.digest,
            "folds": one.parts,
            "fold": cell.fold,
            "model": cell.model,
            "seed": cell.seed,
            "valid": self.valid,
            "test": self.test,
            "noise": [*self.noise],
        }
        if baseline_of(cell.model, facts.dims) is None:
            recipe, sizes = self.varied(cell.variation)
            told |= {"recipe": {**recipe.to_json(), "seed": cell.seed}, **sizes}
        same: dict[str, Any] = json.loads(json.dumps(told))
        return same

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; :meth:`from_json` reads it back."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        told |= {name: [*told[name]] for name in ("models", "seeds", "noise")}
        told["sets"] = [{"data": one.data, "folds": one.folds} for one in self.sets]
        told["tuning"] = [dict(one) for one in self.tuning]
        return told | {"recipe": self.recipe.to_json()}

    @classmethod
    def from_json(cls, told: object) -> Plan:
        """The plan that :meth:`to_json` wrote, or a shorter one of the same entries.

        A set may be its text alone, ``seeds`` a number of them, counted from 0.

        Args:
            told: a JSON object, read.

        Raises:
            ValueError: no object, an unknown or missing name, or a value that may not be.
        """
        given = known_fields(cls, told, "plan")
        if lacking := [name for name in ("sets", "models") if name not in given]:
            raise ValueError(f"a plan must have {lacking}, got {[*given]}.")
        if isinstance(given.get("seeds"), int):
            check_whole("seeds", given["seeds"], 1)
            given["seeds"] = range(given["seeds"])
        for name in ("sets", "models", "seeds", "tuning", "noise"):
            if name in given and not isinstance(given[name], list | tuple | range):
                raise ValueError(f"`{name}` of a plan must be a list, got {given[name]!r:.60}.")
        for one in given.get("tuning", ()):
            if not isinstance(one, Mapping):
                raise ValueError(f"`tuning` must be a list of objects, got {one!r:.60} in it.")
        given["sets"] = tuple(
            SetPlan(one) if isinstance(one, str) else SetPlan(**_of_set(one))
            for one in given["sets"]
        )
        if "recipe" in given:
            given["recipe"] = Recipe.from_json(given["recipe"])
        return cls(**given)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """The plan of a file.

        Args:
            path: a JSON file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no JSON, or see :meth:`from_json`.
        """
        return cls.from_json(read_json(path))


def _of_set(told: object) -> dict[str, Any]:
    given = known_fields(SetPlan, told, "set of a plan")
    if "data" not in given:
        raise ValueError(f"a set of a plan must have 'data', got {[*given]}.")
    return given


def _check_all_others(name: str, values: tuple[object, ...]) -> None:
    if not values:
        raise ValueError(f"`{name}` must have at least one entry, got none.")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"`{name}` has {value!r} twice; once is enough.")
