"""What is installed equals what stands in the checkout, under one name of our own."""

import os
import re
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
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Git holds, as it stands now, with the links."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    if listed.returncode:
        pytest.skip("this is no clone")
    copy = tmp_path_factory.mktemp("checkout") / "pnpfusion"
    for name in listed.stdout.splitlines():
        if name.startswith(("benchmarks/", "docs/")) or not (ROOT / name).exists():
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def tracked(checkout: Path) -> dict[str, bytes]:
    """What Git holds of the three folders, by its path in the checkout."""
    return {
        path.relative_to(checkout).as_posix(): path.read_bytes()
        for folder in ("pnpfusion", *ROOMS)
        for path in (checkout / folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, the wheel made from it, and one made without it in ``direct``."""
    copy = tmp_path_factory.mktemp("built") / "pnpfusion"
    shutil.copytree(checkout, copy, symlinks=True)
    for more in ([], ["--wheel", "--outdir", "dist/direct"]):
        built = run(sys.executable, "-m", "build", "--no-isolation", *more, cwd=copy)
        assert built.returncode == 0, built.stdout + built.stderr
    return copy / "dist"


def packed(folder: Path) -> dict[str, bytes]:
    """What is in the wheel of a folder."""
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


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


@pytest.mark.slow
class TestWheel:
    def test_it_has_the_files_of_git_under_one_name(
        self, dist: Path, tracked: dict[str, bytes]
    ) -> None:
        wheel = packed(dist)
        info = f"pnpfusion-{pnpfusion.__version__}.dist-info"
        assert {name.split("/")[0] for name in wheel} == {"pnpfusion", info}
        wanted = {
            name if name.startswith("pnpfusion/") else f"pnpfusion/{name}": content
            for name, content in tracked.items()
        }
        assert {"pnpfusion/py.typed", "pnpfusion/visualize/lab/page.html"} <= set(wanted)
        assert {name for name in wheel if not name.startswith(info)} == set(wanted)
        assert [name for name, content in wanted.items() if wheel[name] != content] == []

    def test_the_sdist_has_each_file_once(self, dist: Path, tracked: dict[str, bytes]) -> None:
        (path,) = dist.glob("*.tar.gz")
        with tarfile.open(path) as sdist:
            found = {
                member.name.partition("/")[2]: sdist.extractfile(member).read()  # type: ignore[union-attr]
                for member in sdist
                if member.isfile()
            }
        made = {name for name in found if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
        beside = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md"}
        assert set(found) - made == set(tracked) | beside | {"pyproject.toml"}
        assert [name for name, content in tracked.items() if found[name] != content] == []

    def test_the_sdist_and_the_checkout_make_the_same_wheel(self, dist: Path) -> None:
        assert packed(dist) == packed(dist / "direct")

    def test_a_bare_checkout_and_the_wheel_are_one_package(
        self, checkout: Path, installed: Path, elsewhere: Path
    ) -> None:
        code = (
            "import pkgutil, pnpfusion\n"
            "print(pnpfusion.__version__, dir(pnpfusion), pnpfusion.visualize.lab_page())\n"
            "print(*(one.name for one in pkgutil.walk_packages(pnpfusion.__path__, 'pnpfusion.')))"
        )
        told = [
            run(sys.executable, "-c", code, cwd=elsewhere, path=p) for p in (checkout, installed)
        ]
        assert [done.returncode for done in told] == [0, 0], told[0].stderr + told[1].stderr
        assert told[0].stdout == told[1].stdout
        assert "pnpfusion.solvers.kernels.axis" in told[0].stdout.splitlines()[-1].split()

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
        lab = ["lab", "--no-browser", "--out", "page.html"]
        done = run(sys.executable, command, *lab, cwd=elsewhere, path=installed)
        assert done.returncode == 0, done.stderr
        page = (elsewhere / "page.html").read_text(encoding="utf-8")
        assert page == pnpfusion.visualize.lab_page()


class TestVersion:
    """It stands in ``pnpfusion/__init__.py``; what must repeat it repeats it."""

    number = pnpfusion.__version__

    def test_the_build_reads_it(self) -> None:
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        assert "version" not in settings["project"]
        assert settings["project"]["dynamic"] == ["version"]
        attribute = {"attr": "pnpfusion.__version__"}
        assert settings["tool"]["setuptools"]["dynamic"]["version"] == attribute

    def test_the_citation_and_the_changelog_name_it_with_one_date(self) -> None:
        citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        cited = dict(re.findall(r"^(version|date-released): (\S+)$", citation, re.M))
        assert cited["version"] == self.number
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        released = re.findall(r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$", changelog, re.M)
        assert released[0] == (self.number, cited["date-released"])

    def test_the_readme_names_it(self) -> None:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert re.findall(r"version (\d+\.\d+\.\d+)", readme) == [self.number]

    def test_the_site_reads_it(self) -> None:
        conf = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
        assert "version = release = pf.__version__" in conf
