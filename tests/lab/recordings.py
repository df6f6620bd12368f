"""A run to record, and what a page holds of it."""

import base64
import json
import re

import numpy as np
import torch

import pnpfusion as pf

MOST = 500_000  #: bytes of a page


def given(page: str) -> dict:
    """The data in a page."""
    return json.loads(re.search(r'id="given">(.*?)</script>', page, re.S)[1])


def unpacked(text: str, kind: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def a_run(batch=(2,), cells=40, times=5, **more):
    cell = pf.PNP(
        pf.Grid((cells,), (1.0,), ("wall",)),
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=0.05,
        walls={"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-1.0)},
        **more,
    )
    c0 = torch.ones(*batch, 2, cells, dtype=torch.float64)
    return pf.simulate(cell, c0, torch.linspace(0, 0.1, times, dtype=torch.float64), rtol=1e-4)
