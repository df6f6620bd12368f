"""The house rules that can be read off the source: solvers <- pnpfusion <- visualize <- cli."""

import ast
from collections.abc import Iterator

import pytest

from tests.source_tree import parse, source_files

#: Each layer may import itself and those before it.
LAYERS = ["pnpfusion.solvers", "pnpfusion", "pnpfusion.visualize", "pnpfusion.cli"]
#: The public face names all rooms; it imports them only when asked.
FACE = "pnpfusion/__init__.py"
#: The one program that reads a pickle, without what runs code; nothing imports it.
CONVERTER = {"pnpfusion/data/convert_multibench.py", "pnpfusion/data/pickled_arrays.py"}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

TREES = {name: parse(path) for name, path in source_files().items()}


def layer(module: str) -> int:
    """The height of a module: the layer whose name is its longest prefix."""
    if module == "pnpfusion.__main__":  # it is the command line
        module = "pnpfusion.cli"
    return max(
        (i for i, name in enumerate(LAYERS) if f"{module}.".startswith(f"{name}.")),
        key=lambda i: len(LAYERS[i]),
    )


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything imported; of ``from a import b`` it is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def test_imports_run_one_way() -> None:
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in TREES.items()
        if file != FACE
        for line, name in imports(tree)
        if name.split(".")[0] == "pnpfusion"
        and layer(name) > layer(file.removesuffix(".py").replace("/", "."))
    ]
    assert not wrong, wrong


def test_imports_are_absolute() -> None:
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in TREES.items()
        for line, name in imports(tree)
        if name.split(".")[0] in {"", "solvers", "visualize"}
    ]
    assert not wrong, f"write pnpfusion.… in full: {wrong}"


def test_nothing_reads_pickles() -> None:
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in TREES.items()
        for line, name in imports(tree)
        if name.split(".")[0] in PICKLES and file not in CONVERTER
    ]
    assert not wrong, f"a pickle runs code when it is read; save as safetensors: {wrong}"


def test_nothing_imports_what_reads_pickles() -> None:
    modules = tuple(file.removesuffix(".py").replace("/", ".") for file in CONVERTER)
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in TREES.items()
        if file not in CONVERTER
        for line, name in imports(tree)
        if name.startswith(modules)
    ]
    assert set(TREES) >= CONVERTER
    assert not wrong, wrong


def test_no_assert_at_run_time() -> None:
    wrong = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert not wrong, f"python -O drops an assert; raise an error that says what to do: {wrong}"


def test_no_kwargs_sinks() -> None:
    wrong = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and node.args.kwarg
        # scikit-learn's own; it checks every name (tests/training/test_estimator.py)
        and not (file.endswith("training/estimator.py") and node.name == "set_params")
    ]
    assert not wrong, f"name the keywords, a misspelt one must not pass: {wrong}"


@pytest.mark.parametrize("name", ["util", "utils", "helper", "helpers", "misc", "common"])
def test_no_file_has_a_name_that_says_nothing(name: str) -> None:
    wrong = [file for file in TREES if name in file.removesuffix(".py").split("/")]
    assert not wrong, f"name it for what it holds: {wrong}"
