"""Bad input to the command line: what is typed, in a folder with some files, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

SET = "interaction:samples=40,width=3"
#: Files by name that the commands find.
FILES = {
    "mine.csv": "a_1,b_1,label\n1,2,x\n2,1,y\n3,3,x\n",
    "bare.csv": "a_1,b_1\n1,2\n2,1\n",
    "text.json": "hello",
    "deep.json": "[" * 100_000,
    "digits.json": "9" * 5000,
    "list.json": "[1, 2]",
    "typo.json": json.dumps({"epoch": 3}),
    "grid.json": json.dumps({"grid": {"voltage": []}}),
    "case.json": json.dumps({"cases": [{"voltag": 10}]}),
    "kind.json": json.dumps({"grid": {"cells": ["many"]}}),
    "full/mine.txt": "mine",
    "settings.json": "{}",
}

COMMANDS: dict[str, tuple[str, str]] = {
    "nothing": ("", "required: COMMAND"),
    "a command unheard of": ("simulat", "invalid choice: 'simulat'"),
    "an option unheard of": ("simulate --volt 3", "unrecognized arguments: --volt"),
    "a set unheard of": ("simulate --data mnist", "'mnist' is no known set"),
    "a file that is not there": ("simulate --data no.csv", "no.csv is not there"),
    "a table cut wrong": ("simulate --data text.json", "is of no known kind"),
    "a column that is not there": (
        "simulate --data mine.csv --label diagnosis",
        "no column 'diagnosis'",
    ),
    "columns without a name": (
        "simulate --data mine.csv --modality =a_1",
        "got '=a_1', wanted name=column",
    ),
    "columns of no table": (f"simulate --data {SET} --modality a=x", "tells of a .csv file"),
    "a sample beyond the last": (f"simulate --data {SET} --sample 40", "--sample 40 is not there"),
    "a sample that is a word": ("simulate --sample first", "got 'first', wanted one index"),
    "samples of none": (f"simulate --data {SET} --sample 5:5", "--sample 5:5 is empty"),
    "more than there are": (f"simulate --data {SET} --sample random:41", "more samples than"),
    "a Debye length of 0": ("simulate --debye 0", "got '0', wanted a number > 0"),
    "a Debye length of words": ("simulate --debye thin", "got 'thin', wanted a finite number"),
    "a Debye length too small": (f"simulate --data {SET} --debye 1e-6", "needs .* cells"),
    "a voltage without end": ("simulate --voltage inf", "got 'inf', wanted a finite number"),
    "a voltage without electrodes": (
        f"simulate --data {SET} --boundary periodic --voltage 3",
        "--voltage 3 needs electrodes",
    ),
    "cells without number": ("simulate --cells 3.5", "got '3.5', wanted a whole number"),
    "cells beyond all memory": (
        f"simulate --data {SET} --cells 900000000000000",
        "memory|900000000000000",
    ),
    "one time": (f"simulate --data {SET} --times 1", "--times must be 2 or more"),
    "a scheme unheard of": ("simulate --scheme upwind", "invalid choice: 'upwind'"),
    "a diffusivity of nobody": (
        f"simulate --data {SET} --diffusivity c=2",
        "'c'",
    ),
    "a valence twice": ("simulate --valence a=1,a=2", "got 'a' twice"),
    "a folder that is a file": (f"simulate --data {SET} --out mine.csv", "mine.csv is a file"),
    "a folder that is full": (f"simulate --data {SET} --out full", "full is not empty"),
    "a folder below a file": (f"simulate --data {SET} --out mine.csv/x", "cannot be made"),
    "a seed below 0": ("simulate --seed -1", "got '-1', wanted a whole number|expected one"),
    "a sweep that is not there": ("simulate --sweep no.json", "no.json cannot be read"),
    "a sweep of text": ("simulate --sweep text.json", "text.json is no JSON"),
    "a sweep without end": ("simulate --sweep deep.json", "deep.json is no JSON"),
    "a sweep of digits": ("simulate --sweep digits.json", "digits.json is no JSON"),
    "a sweep that is a list": ("simulate --sweep list.json", "must hold a JSON object"),
    "a sweep of nothing": ("simulate --sweep grid.json", r"at least one value, .*got \[\]"),
    "a sweep with a typo": ("simulate --sweep case.json", "did you mean 'voltage'"),
    "a sweep of words": (f"simulate --data {SET} --sweep kind.json", "got 'many'"),
    "a sweep of a folder": ("simulate --sweep full", "full cannot be read"),
    "a share alone": (f"simulate --data {SET} --shard 0/2", "--shard is a share of a sweep"),
    "a share that is not there": (
        "simulate --sweep grid.json --shard 2/2",
        "wanted K/N with K < N",
    ),
    "a model unheard of": (f"train --data {SET} --model moe", "'moe'"),
    "a model's option unheard of": (f"train --data {SET} --model pnp:salt=1", "salt"),
    "a model of one modality": (f"train --data {SET} --model only:c", "'only:c'"),
    "nothing to learn": ("train --data bare.csv", "has no target"),
    "too few to learn": ("train --data mine.csv", "class|samples|rows"),
    "no epochs": ("train --epochs 0", "got '0', wanted a whole number >= 1"),
    "a share of all": ("train --valid 1", "got '1', wanted a number >= 0 and < 1"),
    "shares of more than all": (f"train --data {SET} --valid 0.6 --test 0.6", "0.6|share"),
    "a weight without a name": ("train --loss-weight 0.1", "got '0.1', wanted name=number"),
    "a width beyond all memory": (
        f"train --data {SET} --hidden 900000000000000",
        "memory|900000000000000",
    ),
    "a recipe of text": (f"train --data {SET} --recipe text.json", "text.json is no JSON"),
    "a recipe without end": (f"train --data {SET} --recipe deep.json", "deep.json is no JSON"),
    "a recipe of digits": (f"train --data {SET} --recipe digits.json", "digits.json is no JSON"),
    "a recipe with a typo": (f"train --data {SET} --recipe typo.json", "did you mean 'epochs'"),
    "a recipe that is a list": (f"train --data {SET} --recipe list.json", "must be an object"),
    "a device unheard of": (f"train --data {SET} --device gpu", "--device gpu is of no use here"),
    "to go on from nothing": ("train --resume full", "full holds no training"),
    "to go on from no settings": ("train --resume .", "must have the entries"),
    "to go on and begin": ("train --resume full --epochs 3", "leave out --epochs"),
    "a training in a full folder": (f"train --data {SET} --out full", "full is not empty"),
    "seeds of none": ("compare --seeds 0", "got '0', wanted a whole number"),
    "models of none": ("compare --models concat,,pnp", "none of them empty"),
    "a comparison of a typo": (f"compare --data {SET} --models concatt", "'concatt'"),
    "a reference that is not there": (
        f"compare --data {SET} --models concat --reference pnp",
        "`reference` must be among",
    ),
    "folds of too few": (f"compare --data {SET} --folds 99", "99 folds need as many samples"),
    "tuning of nothing": (f"compare --data {SET} --tune fast", "--tune got 'fast'"),
    "tuning of an entry unheard of": (f"compare --data {SET} --tune speed=1,2", "'speed'"),
    "a plan of text": ("compare --plan text.json", "text.json is no JSON"),
    "a plan without end": ("compare --plan deep.json", "deep.json is no JSON"),
    "a plan of a recipe": ("compare --plan typo.json", "'epoch'"),
    "a plan that is not there": ("compare --plan no.json", "no.json"),
    "a plan and more": ("compare --plan typo.json --epochs 3", "leave out --epochs"),
    "to go on with no comparison": ("compare --resume full", "full holds no comparison"),
    "a comparison in a full folder": (f"compare --data {SET} --out full", "full is not empty"),
    "a page in a folder": ("lab --no-browser --out full", "full is a folder, wanted a file"),
    "a page nowhere": ("lab --no-browser --out no/page.html", "make it first"),
    "a page over a file": ("lab --no-browser --out mine.csv", "is there already"),
    "a run that is none": ("lab --no-browser --run mine.csv", "no safetensors file"),
    "a run that is not there": ("lab --no-browser --run no", "there is no file no"),
    "a folder without a run": ("lab --no-browser --run full", "full holds neither"),
    "samples of no layer": ("lab --no-browser --samples 3", "--samples is of a trained layer"),
}


def furnish(folder: Path) -> None:
    """Write the files that the commands find."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
