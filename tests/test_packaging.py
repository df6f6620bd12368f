"""What is installed equals what stands in the checkout, under one name of our own."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import pnpfusion
from tests.source_tree import ROOT, source_files

ROOMS = ["solvers", "visualize"]


def run(
    *command: str | Path, cwd: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``cwd``, with nothing but ``path`` added to where Python looks."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    return subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from it, built in a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "pnpfusion"
    copy.mkdir()
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("pnpfusion", *ROOMS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    built = run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    assert built.returncode == 0, built.stdout + built.stderr
    return copy / "dist"


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed into a folder of its own; the dependencies are those around us."""
    target = tmp_path_factory.mktemp("installed")
    (wheel,) = dist.glob("*.whl")
    flags = ["--no-deps", "--no-index", "--quiet", "--target", str(target)]
    done = run(sys.executable, "-m", "pip", "install", *flags, wheel, cwd=target)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A user's folder, with files of their own that have our rooms' names."""
    for room in ROOMS:
        (tmp_path / f"{room}.py").write_text("MINE = True\n")
    return tmp_path


def test_pyproject_lists_every_folder_with_code() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    on_disk = {file.rpartition("/")[0].replace("/", ".") for file in source_files()}
    assert sorted(listed) == sorted(on_disk), "mend `packages` in pyproject.toml"


def test_every_folder_with_code_is_a_package() -> None:
    files = source_files()
    bare = {f.rpartition("/")[0] for f in files} - {
        f.rpartition("/")[0] for f in files if f.endswith("/__init__.py")
    }
    assert not bare, f"an __init__.py is missing in {sorted(bare)}"


@pytest.mark.parametrize("room", ROOMS)
def test_the_links_lead_to_the_folders(room: str) -> None:
    link = ROOT / "pnpfusion" / room
    if link.is_file():
        pytest.skip("this clone has no links (Windows)")
    assert link.readlink() == Path("..", room)
    assert (link / "__init__.py").samefile(ROOT / room / "__init__.py")


@pytest.mark.parametrize("room", ROOMS)
def test_the_checkout_refuses_a_second_copy_of_a_room(room: str) -> None:
    done = run(sys.executable, "-c", f"import {room}", cwd=ROOT)
    assert done.returncode != 0
    assert f"ImportError: import pnpfusion.{room}, not {room}" in done.stderr


def test_a_bare_checkout_knows_its_version() -> None:
    code = "import pnpfusion; print(pnpfusion.__version__)"
    done = run(sys.executable, "-S", "-c", code, cwd=ROOT)  # -S: no site-packages
    assert done.stdout.strip() == pnpfusion.__version__, done.stderr


@pytest.mark.xdist_group("wheel")  # one worker builds for all of these
class TestWheel:
    def test_it_has_our_files_under_one_name(self, dist: Path) -> None:
        (path,) = dist.glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            info = f"pnpfusion-{pnpfusion.__version__}.dist-info"
            assert {name.split("/")[0] for name in wheel.namelist()} == {"pnpfusion", info}
            packed = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".py")}
            assert "pnpfusion/py.typed" in wheel.namelist()
            lab = {path.name for path in (ROOT / "visualize" / "lab").iterdir() if path.is_file()}
            assert {f"pnpfusion/visualize/lab/{name}" for name in lab} <= set(wheel.namelist())
        assert packed == {name: path.read_bytes() for name, path in source_files().items()}

    def test_the_sdist_has_each_file_once(self, dist: Path) -> None:
        (path,) = dist.glob("*.tar.gz")
        with tarfile.open(path) as sdist:
            names = [member.name.partition("/")[2] for member in sdist if member.isfile()]
        tree = [path.relative_to(ROOT).as_posix() for path in source_files().values()]
        assert sorted(name for name in names if name.endswith(".py")) == sorted(tree)

    def test_it_lives_beside_a_users_own_modules(self, installed: Path, elsewhere: Path) -> None:
        code = (
            "import pnpfusion, pnpfusion.solvers, pnpfusion.visualize, solvers, visualize\n"
            "for m in (pnpfusion, pnpfusion.solvers, pnpfusion.visualize, solvers, visualize):\n"
            "    print(m.__file__)"
        )
        done = run(sys.executable, "-c", code, cwd=elsewhere, path=installed)
        assert done.returncode == 0, done.stderr
        ours = [installed / "pnpfusion" / part / "__init__.py" for part in ("", *ROOMS)]
        theirs = [elsewhere / f"{room}.py" for room in ROOMS]
        assert [Path(line) for line in done.stdout.splitlines()] == [*ours, *theirs]

    def test_its_command_answers(self, installed: Path, elsewhere: Path) -> None:
        command = installed / "bin" / "pnpfusion"
        if not command.exists():
            pytest.skip("scripts have another place here (Windows)")
        done = run(sys.executable, command, "--help", cwd=elsewhere, path=installed)
        assert done.returncode == 0, done.stderr
        assert "simulate" in done.stdout
