"""The documentation site: every public name is on a page, and its docstring says what one needs."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import pytest

import pnpfusion as pf
from tests.source_tree import FOLDERS, ROOT, parse

REFERENCE = ROOT / "docs" / "api"
ENTRY = re.compile(r"^\.\. (?:auto)?(class|function|exception|data):: (\S+)", re.M)
MODULE = re.compile(r"^\.\. (?:current|auto)module:: (\S+)", re.M)
SECTION = re.compile(r"^\s*(Args|Returns|Raises|Warns|Yields):$", re.M)


def look_up(name: str) -> Any:
    """The object of a dotted name."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def public_names() -> dict[str, Any]:
    """Every name that a user is offered, and what it is."""
    names = [f"pnpfusion.{name}" for name in vars(pf)["_HOMES"]]
    for room in sorted(vars(pf)["_ROOMS"]):
        module = importlib.import_module(f"pnpfusion.{room}")
        if hasattr(module, "__path__"):  # its __init__.py lists them
            nodes = [
                n for n in parse(Path(str(module.__file__))).body if isinstance(n, ast.ImportFrom)
            ]
            names += [f"pnpfusion.{room}.{a.name}" for n in nodes for a in n.names if a.asname]
        else:  # a module by itself
            names += [
                f"pnpfusion.{room}.{name}"
                for name, one in vars(module).items()
                if not name.startswith("_") and getattr(one, "__module__", None) == module.__name__
            ]
    found = {name: look_up(name) for name in names}
    return {name: one for name, one in found.items() if not isinstance(one, TypeVar)}


def documented() -> dict[str, Any]:
    """Every name that has an entry in the reference, and what it is."""
    found = {}
    for page in sorted(REFERENCE.glob("*.rst")):
        module = "pnpfusion"
        for line in page.read_text(encoding="utf-8").splitlines():
            if match := MODULE.match(line):
                module = match[1]
            elif match := ENTRY.match(line):
                name = match[2] if match[2].startswith("pnpfusion.") else f"{module}.{match[2]}"
                found[name] = look_up(name)
    return found


def entry(name: str) -> str:
    """Where in the reference a public name belongs, and what to write there."""
    (module, _, last), room, one = name.rpartition("."), name.split(".")[1], look_up(name)
    if room not in vars(pf)["_ROOMS"]:
        room = "dynamics"  # or the page of what it goes with
    page = REFERENCE / f"{room}.rst"
    here = MODULE.findall(page.read_text(encoding="utf-8"))[0]
    written, listed = last if here == module else name, name.removeprefix(f"{here}.")
    kind = "autofunction" if inspect.isroutine(one) else "data"
    if isinstance(one, type):
        kind = "autoexception" if issubclass(one, BaseException) else "autoclass"
    where = page.relative_to(ROOT).as_posix()
    return f"- in {where}: `.. {kind}:: {written}`, and `{listed}` in the list on top"


ENTRIES = documented()
CALLABLES = {name: one for name, one in ENTRIES.items() if inspect.isroutine(one)}
CLASSES = {name: one for name, one in ENTRIES.items() if inspect.isclass(one)}


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public functions that stand in the body of a class."""
    for name, one in vars(kind).items():
        function = getattr(one, "__func__", one)
        if not name.startswith("_") and inspect.isfunction(inspect.unwrap(function)):
            yield name, inspect.unwrap(function)


def parameters(function: Any) -> list[str]:
    """The names of a function's arguments."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def names_in(text: str, section: str) -> str:
    """The part of a docstring under a heading; "" without one."""
    parts = SECTION.split(inspect.cleandoc(text))
    return "".join(
        body for head, body in zip(parts[1::2], parts[2::2], strict=True) if head == section
    )


def raises(function: Any) -> bool:
    """Whether an error is raised in the body of a function itself."""
    tree = ast.parse(dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    there = {id(one) for one in ENTRIES.values()}
    missing = {name: one for name, one in public_names().items() if id(one) not in there}
    assert not missing, "\n".join(["the reference lacks names; write", *map(entry, missing)])


def test_no_name_is_there_twice() -> None:
    seen: dict[int, str] = {}
    twice = [
        (name, seen[id(one)])
        for name, one in ENTRIES.items()
        if seen.setdefault(id(one), name) != name
    ]
    assert not twice


@pytest.mark.parametrize("name", CALLABLES)
def test_a_function_tells_its_arguments_and_errors(name: str) -> None:
    function = CALLABLES[name]
    text = function.__doc__ or ""
    arguments = names_in(text, "Args")
    untold = [
        p for p in parameters(function) if not re.search(rf"^ +{p}(, \w+)*:", arguments, re.M)
    ]
    assert not untold, f"{name} has arguments that its docstring does not list: {untold}"
    assert not raises(function) or names_in(text, "Raises"), f"{name} does not say when it raises"
    result = str(inspect.signature(function).return_annotation)
    if result.startswith(("tuple", "dict")):
        assert names_in(text, "Returns"), f"{name} returns {result}; its docstring says not what"


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_tells_its_arguments(name: str) -> None:
    kind = CLASSES[name]
    assert vars(kind).get("__doc__"), f"{name} has no docstring"
    if hasattr(kind, "__dataclass_fields__") or "__init__" not in vars(kind):
        return  # the fields of dataclasses carry comments, which the next test reads
    if getattr(kind, "_is_protocol", False):
        return
    told = f"{kind.__doc__}\n{vars(kind)['__init__'].__doc__ or ''}"
    arguments = names_in(told, "Args")
    wanted = parameters(vars(kind)["__init__"])
    untold = [p for p in wanted if not re.search(rf"^ +{p}(, \w+)*:", arguments, re.M)]
    assert not untold, f"{name} has arguments that its docstring does not list: {untold}"


@pytest.mark.parametrize(
    "name", [name for name, kind in CLASSES.items() if hasattr(kind, "__dataclass_fields__")]
)
def test_the_fields_of_a_dataclass_are_told(name: str) -> None:
    kinds = [one for one in CLASSES[name].__mro__ if one.__module__.startswith("pnpfusion")]
    source = "\n".join(inspect.getsource(one) for one in kinds)
    docstrings = "\n".join(one.__doc__ or "" for one in kinds)
    body = ast.parse(dedent(inspect.getsource(kinds[0]))).body[0]
    assert isinstance(body, ast.ClassDef)
    fields = [node.target.id for node in body.body if isinstance(node, ast.AnnAssign)]  # type: ignore[union-attr]
    bare = []
    for field in fields:
        after = rf"^    {field}: [^\n]*(#:|(\n     [^\n]*)*(\n    \)[^\n]*)?\n +r?\"\"\")"
        before = rf"#: [^\n]*\n    {field}: "
        there = re.search(f"{after}|{before}", source, re.M) or re.search(
            rf"\b{field}\b", docstrings
        )
        if field != "_" and not there:
            bare.append(field)
    assert not bare, f"{name} has fields that nothing tells of: {bare}"


@pytest.mark.parametrize("name", CLASSES)
def test_a_method_tells_its_arguments_and_errors(name: str) -> None:
    kind = CLASSES[name]
    kinds = [one for one in kind.__mro__ if one.__module__.startswith("pnpfusion")]
    untold = []
    for method, function in methods(kind):
        text = "\n".join(vars(one)[method].__doc__ or "" for one in kinds if method in vars(one))
        if text.startswith("See "):
            continue
        told = f"{text}\n{kind.__doc__}"
        untold += [
            f"{method}({argument})"
            for argument in parameters(function)
            if not re.search(rf"(?<!\w){argument}(?!\w)", told)
        ]
        if raises(function) and "aise" not in text:
            untold.append(f"what {method} raises")
        if not text:
            untold.append(method)
    assert not untold, f"nothing in {name} tells of {untold}"


def test_every_key_of_a_source_is_in_the_bibliography() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "references.bib").read_text(), re.M))
    files = [*(ROOT / "docs").glob("*.md")]
    for folder in ("examples", "lessons", "start", "how_to"):
        files += [
            path for path in (ROOT / "docs" / folder).rglob("*") if path.suffix in (".py", ".md")
        ]
    files += [path for folder in FOLDERS.values() for path in sorted(folder.rglob("*.py"))]
    used = {}
    for path in files:
        text = path.read_text(encoding="utf-8")
        for group in re.findall(r"\[((?:[A-Z][A-Za-z]+\d\d\b(?:, )?)+)", text):
            used |= dict.fromkeys(re.findall(r"[A-Z][A-Za-z]+\d\d", group), path.name)
    assert len(used) > 20
    unknown = {key: used[key] for key in used.keys() - keys}
    assert not unknown, f"docs/references.bib has no entry of the key that a file cites: {unknown}"


def test_the_check_of_the_finished_site_finds_what_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site needs the extra `docs`")
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        complaints = importlib.import_module("self_contained").complaints
    finally:
        sys.path.pop(0)
    good = (
        '<a href="https://example.org">out</a><p id="here"><a href="#here">in</a><img src="i.png">'
    )
    (tmp_path / "good.html").write_text(good)
    (tmp_path / "i.png").touch()
    assert complaints(tmp_path) == []
    faults = {
        '<img src="https://example.org/i.png">': "loads https://example.org/i.png",
        '<script src="//example.org/s.js"></script>': "loads //example.org/s.js",
        '<link href="https://example.org/s.css">': "loads https://example.org/s.css",
        '<style>@import "https://example.org/f";</style>': "loads https://example.org/f",
        '<p style="background: url(https://example.org/b)">': "loads https://example.org/b",
        '<a href="gone.html">x</a>': "points to gone.html, which is not there",
        '<a href="good.html#gone">x</a>': "points to good.html#gone, an anchor that is not there",
    }
    for text, fault in faults.items():
        (tmp_path / "bad.html").write_text(text)
        assert complaints(tmp_path) == [f"bad.html {fault}"]


def test_search_finds_a_solver_from_a_file(tmp_path: Path) -> None:
    page = ROOT / "docs" / "_build" / "html" / "search.html"
    chromium = shutil.which("chromium")
    if not page.exists() or chromium is None:
        pytest.skip("wanted: the site, `make docs`, and on Debian apt install chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    options += ["--virtual-time-budget=8000", "--dump-dom", f"{page.as_uri()}?q=Anderson"]
    done = subprocess.run([chromium, *options], capture_output=True, text=True, timeout=120)
    assert 'href="api/solvers.html#pnpfusion.solvers.Anderson"' in done.stdout
