"""The examples in docs/examples: each runs as a user would run it, and what it claims holds."""

import ast
from pathlib import Path

import pytest

from tests.docs.scripts import ran
from tests.source_tree import ROOT

GALLERY = ROOT / "docs" / "examples"
EXAMPLES = sorted(GALLERY.rglob("*.py"))
LONGEST = 60  # lines in all
LARGEST = 3_000_000  # bytes of a picture or movie
NAMES = [path.relative_to(GALLERY).with_suffix("").as_posix() for path in EXAMPLES]
EACH = pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)


def test_there_are_examples():
    assert EXAMPLES, "docs/examples holds no script"


def draws(example: Path) -> bool:
    """Those for the reader's own code print what they found; all others draw and assert."""
    return example.parent.name != "in_your_code"


@EACH
def test_an_example_is_short_and_says_what_it_shows(example: Path):
    text = example.read_text(encoding="utf-8")
    lines, module = text.splitlines(), ast.parse(text)
    assert len(lines) <= LONGEST, f"{example.name} has {len(lines)} lines, wanted {LONGEST}"
    assert max(map(len, lines)) <= 100
    title, rule, *caption = (ast.get_docstring(module) or "").splitlines()
    assert rule == "=" * len(title), f"{example.name} must begin with a title, underlined by ="
    assert any(line.strip() for line in caption), f"{example.name} needs a caption"
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(module))
    assert asserts or not draws(example), f"{example.name} must assert its claim"


@pytest.mark.long
@EACH
def test_an_example_runs_and_draws(example: Path, tmp_path: Path, record_property):
    """Run from an empty folder, without a display; its processor time is a property of the test."""
    here, shown = tmp_path / "here", tmp_path / "shown"
    here.mkdir()
    *printed, took = ran(ROOT / "tests" / "docs" / "run_example.py", example, shown, cwd=here)
    record_property("took", took)
    print(example.stem, *printed, took, sep="\n")
    assert printed, f"{example.name} must print what it found"
    assert not [*here.iterdir()], f"{example.name} must leave nothing behind"
    pictures = [*shown.iterdir()]
    assert pictures or not draws(example), f"{example.name} must draw"
    for picture in pictures:
        content = picture.read_bytes()
        assert content.startswith((b"\x89PNG", b"GIF8")), f"{picture.name} is no picture"
        assert len(content) < LARGEST, f"{picture.name} of {example.name} is too large"


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "setting", "other"),
    [
        ("pn_junction", "acceptors, donors, intrinsic = 1e16, 1e16", "1e15, 3e17"),
        ("debye_screening", "salts, volts = (1, 10, 100, 1000)", "(0.1, 1, 10)"),
    ],
)
def test_an_example_follows_its_settings(name: str, setting: str, other: str, tmp_path: Path):
    text = (GALLERY / "physics" / f"{name}.py").read_text(encoding="utf-8")
    assert setting in text
    script = tmp_path / f"{name}.py"
    script.write_text(text.replace(setting, setting.split("=")[0] + "= " + other), encoding="utf-8")
    assert ran(script, cwd=tmp_path)
