"""What tab completion offers of a module."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType


def public_names(names: Mapping[str, object]) -> list[str]:
    """What ``dir`` lists of a module whose globals are ``names``: neither parts nor tools.

    Its ``__all__`` where it has one, as files have that import what they need; else, as in the
    ``__init__.py`` of a folder, all names but submodules and those that begin with "_".
    """
    listed = names.get("__all__")
    if isinstance(listed, list):
        return sorted(listed)
    return sorted(
        name
        for name, value in names.items()
        if not (name.startswith("_") or isinstance(value, ModuleType))
    )
