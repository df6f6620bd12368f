"""Questions answered by leaving out, or changing, one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from docs.results.plans import Size, htad_is_there
from pnpfusion.comparison import Difference, Plan, Row, SetPlan, compare, paired_difference
from pnpfusion.training import Recipe

HTAD = SetPlan("htad", 5)
INTERACTION = SetPlan("interaction:samples=2400")
Place = tuple[SetPlan, str]  #: a set, and what a recipe has of its own


@dataclass(frozen=True)
class Variant:
    """A model, and what its recipe has of its own."""

    label: str
    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablation:
    """One question, put to variants of a model of which the first is the base."""

    key: str
    title: str
    question: str
    data: SetPlan
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Answer:
    """A variant's row, and how it differs from the base."""

    label: str
    row: Row
    difference: Difference | None  #: None for the base, and where too little is there


SHARING = (
    Variant("shared cells", "pnp"),
    Variant("cells of each modality's own", "pnp:coupled=false"),
    Variant("transient, shared cells", "pnp-transient"),
    Variant("transient, cells of their own", "pnp-transient:coupled=false"),
)
ABLATIONS = (
    Ablation(
        "sharing",
        "Does it matter that modalities share a potential?",
        "Without it each has cells of its own, and what comes out is a sum of functions of one "
        "modality. Where products are needed, as here, that should be all the difference.",
        INTERACTION,
        SHARING,
    ),
    Ablation(
        "sharing-htad",
        "The same on HTAD",
        "Here sums go far, and sharing has little to win.",
        HTAD,
        SHARING,
    ),
    Ablation(
        "duration",
        "For how long should ions migrate?",
        "Information kept against mixing: only the end of the run is read, and what diffusion "
        "has forgotten by then is lost.",
        HTAD,
        (
            Variant("T = 0.3", "pnp-transient:reading=end"),
            Variant("T = 0.01", "pnp-transient:reading=end,duration=0.01"),
            Variant("T = 0.1", "pnp-transient:reading=end,duration=0.1"),
            Variant("T = 1", "pnp-transient:reading=end,duration=1"),
            Variant("T = 3", "pnp-transient:reading=end,duration=3"),
        ),
    ),
    Ablation(
        "permittivity",
        "How strong should the field of the ions be?",
        "The permittivity is twice the square of the Debye length, which is held fixed here: the "
        "shorter, the more ions of one modality move those of another. Only the end is read.",
        HTAD,
        (
            Variant("learned, one each per channel", "pnp-transient:reading=end"),
            Variant("0.05 L", "pnp-transient:reading=end,debye_length=0.05"),
            Variant("0.15 L", "pnp-transient:reading=end,debye_length=0.15"),
            Variant("0.5 L", "pnp-transient:reading=end,debye_length=0.5"),
        ),
    ),
    Ablation(
        "reading",
        "What of the run should be read, or is rest enough?",
        "The start holds the features and nothing of two modalities together; the end holds what "
        "the field has mixed. The resting cell has no start.",
        HTAD,
        (
            Variant("transient, both", "pnp-transient"),
            Variant("transient, start", "pnp-transient:reading=start"),
            Variant("transient, end", "pnp-transient:reading=end"),
            Variant("equilibrium", "pnp"),
        ),
    ),
    Ablation(
        "gmf",
        "GMF: where to split, and how much should reconstruction count?",
        "The boundary is the share of units that is invariant; the weight is that of the "
        "reconstruction in the loss.",
        HTAD,
        (
            Variant("boundary 1/2, weight 0.1", "gmf"),
            Variant("boundary 1/4", "gmf:boundary=0.25"),
            Variant("boundary 3/4", "gmf:boundary=0.75"),
            Variant("weight 0", "gmf", {"loss_weights": {"reconstruction": 0.0}}),
            Variant("weight 1", "gmf", {"loss_weights": {"reconstruction": 1.0}}),
        ),
    ),
    Ablation(
        "rounds",
        "How many rounds of feedback?",
        "On features that are already encoded; with the encoders in the loop, INDEX above shows "
        "what rounds are for.",
        HTAD,
        (
            Variant("R = 2", "progressive"),
            Variant("R = 1", "progressive:rounds=1"),
            Variant("R = 3", "progressive:rounds=3"),
            Variant("R = 4", "progressive:rounds=4"),
        ),
    ),
    Ablation(
        "tolerance",
        "How well must an equilibrium be found?",
        "The contractive cell, trained and judged at each tolerance.",
        HTAD,
        (
            Variant("as it comes", "deq"),
            Variant("1e-1", "deq:tol=1e-1"),
            Variant("1e-2", "deq:tol=1e-2"),
            Variant("1e-3", "deq:tol=1e-3"),
        ),
    ),
    Ablation(
        "gradient",
        "Which gradient through an equilibrium?",
        "By the implicit function theorem; through one or five further rounds alone (phantom); "
        "exact, through all of 30 rounds.",
        HTAD,
        (
            Variant("implicit", "deq"),
            Variant("phantom, 1 round", "deq:gradient=phantom"),
            Variant("phantom, 5 rounds", "deq:gradient=phantom-5"),
            Variant("exact, 30 rounds", "deq:rounds=30"),
        ),
    ),
    Ablation(
        "absence",
        "Does it help to train for a missing modality?",
        "With modality dropout a sample lacks each modality in a third of all steps.",
        HTAD,
        (
            Variant("concat", "concat"),
            Variant("concat, dropout", "concat", {"modality_dropout": 0.33}),
            Variant("attention, dropout", "attention", {"modality_dropout": 0.33}),
            Variant("pnp", "pnp"),
            Variant("pnp, dropout", "pnp", {"modality_dropout": 0.33}),
            Variant("deq, dropout", "deq", {"modality_dropout": 0.33}),
        ),
    ),
)


def chosen(size: Size) -> list[Ablation]:
    """Those of a size, of sets that are there."""
    kept = [one for one in ABLATIONS if size.ablations is None or one.key in size.ablations]
    if not htad_is_there():
        kept = [one for one in kept if one.data != HTAD]
    if not size.quick:
        return kept
    data = SetPlan("interaction:samples=150,width=4")
    return [replace(one, data=data, variants=one.variants[:2]) for one in kept]


def plans(size: Size) -> list[Plan]:
    """One for each set and recipe, with all models that an ablation asks for."""
    groups: dict[Place, dict[str, None]] = {}
    changed: dict[Place, Mapping[str, Any]] = {}
    for ablation in chosen(size):
        for variant in ablation.variants:
            place = _place(ablation, variant)
            groups.setdefault(place, {})[variant.model] = None
            changed[place] = variant.changes
    return [
        Plan(
            sets=(place[0],),
            models=tuple(models),
            seeds=size.ablation_seeds,
            recipe=Recipe.from_json({**size.recipe.to_json(), **changed[place]}),
            noise=(),
            hidden=size.hidden,
            width=size.hidden,
        )
        for place, models in groups.items()
    ]


def answers(size: Size, folder: Path, workers: int) -> list[tuple[Ablation, list[Answer]]]:
    """Do what the folder does not have; for each ablation a row for each variant, in their order.

    What two ablations ask for is done once.
    """
    rows: dict[tuple[SetPlan, str, str], Row] = {}
    for plan in plans(size):
        done = compare(plan, folder, workers=workers, progress=not size.quick)
        for cell, reason in done.failures.items():
            print(f"failed: {cell}: {reason}", flush=True)
        recipe = repr(plan.recipe)
        rows.update({(plan.sets[0], recipe, row.model): row for row in done.sets[0].rows})
    found = []
    for ablation in chosen(size):
        own = []
        for variant in ablation.variants:
            changed = Recipe.from_json({**size.recipe.to_json(), **variant.changes})
            own.append(rows[ablation.data, repr(changed), variant.model])
        told = [
            Answer(variant.label, row, difference(row, own[0]) if place else None)
            for place, (variant, row) in enumerate(zip(ablation.variants, own, strict=True))
        ]
        found.append((ablation, told))
    return found


def _place(ablation: Ablation, variant: Variant) -> Place:
    return ablation.data, repr(sorted(variant.changes.items()))


def difference(row: Row, other: Row) -> Difference | None:
    """How much higher a row's scores are, of the seeds all of whose folds both have."""
    both = [
        np.array([[np.nan if one is None else one for one in seed] for seed in each.scores])
        for each in (row, other)
    ]
    whole = ~(np.isnan(both[0]) | np.isnan(both[1])).any(1)
    if not whole.any():
        return None
    return paired_difference(both[0][whole], both[1][whole])
