"""The bounds of pyproject.toml: the oldest packages it admits, and whether the newest can be had.

python -m tests.project.bounds oldest           the oldest releases, one a line, for `pip -r`
python -m tests.project.bounds newest 3.13 ...  can all be had under these Pythons? installs nothing
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from tests.source_tree import ROOT

REQUIREMENT = re.compile(r"([\w-]+)>=([\w.]+)")
#: PyTorch is not looked at so: its index has no metadata beside a build, which is half a gigabyte.
TORCH = "torch"


def bounds(*extras: str) -> dict[str, str]:
    """The lower bound of each package that is needed, or by these extras, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    options = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras for line in options[extra])]
    return {match[1]: match[2] for line in lines if (match := REQUIREMENT.match(line))}


def oldest() -> None:
    """Print what the tests need, each at its lower bound; PyTorch is that of constraints.txt."""
    for name, version in bounds("fast", "data", "dev").items():
        if name not in {TORCH, "selenium", "setuptools"}:
            print(f"{name}=={version}")
    print("pyparsing<3.3")  # of old matplotlib, which warns beside a newer one


def interpreter(version: str) -> str | None:
    """A Python of this version: on the path, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
    for python in filter(None, found):  # one of pyenv's shims may be there and lead nowhere
        asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, text=True, capture_output=True, check=False)
        if done.stdout.strip() == version:
            return str(python)
    return None


def newest(version: str) -> bool:
    """Say whether a Python of this version can have all that pyproject.toml names."""
    python = interpreter(version)
    if python is None:
        print(f"Python {version}: not found here")
        return True
    wanted = bounds("fast", "data", "tensorboard", "docs", "dev")
    lines = [
        f"{name}>={bound}" for name, bound in wanted.items() if name not in {TORCH, "torchdiffeq"}
    ]
    torchs_own = [one for one in requires(TORCH) or () if ";" not in one]
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    for what in (
        [*pip, "index", "versions", TORCH],  # lists those with a build for this Python
        [*install, "--no-deps", f"torchdiffeq>={wanted['torchdiffeq']}"],
        [*install, *lines, *torchs_own],
    ):
        done = subprocess.run(what, text=True, capture_output=True, check=False)
        if done.returncode:
            print(f"Python {version}: {' '.join(what)}\n{done.stderr}")
            return False
        if "index" in what:
            print(f"Python {version}: a build of {done.stdout.splitlines()[0]} is there")
    print(f"Python {version}: all else can be installed together")
    return True


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["oldest"]:
            oldest()
        case ["newest", *versions] if versions:
            sys.exit(not all([*map(newest, versions)]))
        case _:
            sys.exit(__doc__)
