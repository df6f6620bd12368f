"""The short form of soaking, and that a leak would be seen."""

import pytest
import torch

from tests.torture import soak


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["run", *(pytest.param(one, marks=pytest.mark.long) for one in soak.SOAKS if one != "run")],
)
def test_memory_stays_flat(name: str) -> None:
    assert soak.main(["--count", "200", "--case", name]) == 0


def test_a_leak_is_seen() -> None:
    watch, kept = soak.Watch(200), []
    for _ in range(200):
        kept.append(torch.zeros(10))
        watch.step()
    assert "live tensors" in watch.broken()
