"""The converter of MultiBench's pickles: what it keeps, what it cleans, and what it refuses."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnpfusion import data
from pnpfusion.data.convert_multibench import main, read_affect


def part(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(n, 50, 300))
    text[:, :20] = 0
    return {
        "vision": rng.normal(size=(n, 50, 35)),
        "audio": rng.normal(size=(n, 50, 74)),
        "text": text,
        "labels": rng.uniform(-3, 3, (n, 1, 1)),
        "id": np.array([[f"clip{i}", "0", "1"] for i in range(n)], dtype=object),
    }


def content() -> dict[str, Any]:
    return {"train": part(6, 0), "valid": part(3, 1), "test": part(4, 2)}


def pickled(path: Path, what: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(what, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_protocols(tmp_path: Path, protocol: int) -> None:
    given = content()
    source = pickled(tmp_path / "mosi.pkl", given, protocol)
    out = tmp_path / "mosi.npz"
    assert main([str(source), str(out), "--trust"]) == 0
    found = data.from_npz(out, dtype=torch.float32)
    assert found.dims == {"vision": 35, "audio": 74, "text": 300}
    assert {name: len(rows) for name, rows in found.splits.items()} == {
        "train": 6,
        "valid": 3,
        "test": 4,
    }
    audio = np.concatenate([given[split]["audio"] for split in given]).astype(np.float32)
    np.testing.assert_array_equal(found.modalities["audio"].numpy(), audio)
    values = np.concatenate([given[split]["labels"].reshape(-1) for split in given])
    assert found.target is not None
    assert found.target.tolist() == (values > 0).astype(int).tolist()
    assert found.class_names == ("not positive", "positive")


def test_cleaning(tmp_path: Path) -> None:
    given = content()
    given["train"]["audio"][1, 3, 5] = -np.inf
    given["train"]["text"][2] = 0  # dropped, and what is wrong with it too
    given["train"]["vision"][2] = np.nan
    given["valid"]["labels"][0] = 0.0  # not positive
    arrays = read_affect(pickled(tmp_path / "mosi.pkl", given))
    assert arrays["audio"][1, 3, 5] == 0
    assert len(arrays["text"]) == 12
    assert (arrays["split"] == "train").sum() == 5
    np.testing.assert_array_equal(arrays["text"][2], given["train"]["text"][3].astype(np.float32))
    out = tmp_path / "numbers.npz"
    assert main([str(tmp_path / "mosi.pkl"), str(out), "--trust", "--numbers"]) == 0
    found = data.from_npz(out)
    assert found.task == "numbers"
    assert found.split("valid").target.tolist()[0] == 0  # type: ignore[union-attr]
    assert main([str(tmp_path / "mosi.pkl"), str(tmp_path / "c.npz"), "--trust"]) == 0
    assert data.from_npz(tmp_path / "c.npz").split("valid").target.tolist()[0] == 0  # type: ignore[union-attr]


class Bomb:
    """What runs a command when a plain unpickler reads it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return open, (str(self.target), "w")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_what_could_run_code_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "written"
    given = content()
    given["train"]["id"] = Bomb(target)
    with pytest.raises(ValueError, match=r"it asks for (io|_io|builtins|__builtin__)\.open, which"):
        read_affect(pickled(tmp_path / "bomb.pkl", given, protocol))
    assert not target.exists()


@pytest.mark.parametrize(
    "names",
    [
        "cos\nsystem\n",
        "cbuiltins\neval\n",
        "cnumpy\nload\n",
        "cnumpy.core.multiarray\nfromfile\n",
        "cnumpy.testing._private.utils\nrunstring\n",
        "ccopyreg\n_reconstructor\n",
        "c_codecs\ndecode\n",
    ],
)
def test_names_that_arrays_do_not_need(tmp_path: Path, names: str) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes((names + "(S'1'\ntR.").encode())
    module, name = names[1:].split("\n")[:2]
    with pytest.raises(ValueError, match=f"it asks for {module}.{name}, which arrays do not need"):
        read_affect(path)


class Raw:
    """Something pickled by a call of one's choice with a state of one's choice."""

    def __init__(self, call: Any, arguments: Any, state: Any = None) -> None:
        self.parts = (call, arguments) if state is None else (call, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


ARRAY = np.zeros(0).__reduce__()[0]  # numpy's _reconstruct
F8 = np.dtype("f8")


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (Raw(ARRAY, (np.ndarray, (0,), b"b"), (1, (10**12,), F8, False, b"")), "does not hold as"),
        (Raw(ARRAY, (np.ndarray, (0,), b"b"), (1, (-1,), F8, False, b"")), r"of shape \(-1,\)"),
        (Raw(ARRAY, (np.ndarray, (0,), b"b"), (1, (1,), "f8", False, b"")), "without a dtype"),
        (Raw(ARRAY, (np.ndarray, (0,), b"b"), (1,)), "a form that is not known"),
        (Raw(ARRAY, (np.ndarray, (0,), b"b")), "must hold numbers"),
        (Raw(np.dtype, ("V8",)), "array of dtype 'V8'"),
        (Raw(np.dtype, ("f9999999999",)), "has no array"),
        (np.zeros(3, dtype=[("x", "f8")]), "array of dtype 'V8'"),
    ],
)
def test_arrays_that_are_forged(tmp_path: Path, forged: Any, message: str) -> None:
    given = content()
    given["train"]["audio"] = forged
    with pytest.raises(ValueError, match=message) as raised:
        read_affect(pickled(tmp_path / "forged.pkl", given))
    assert "forged.pkl" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("valid"), "there is no 'valid' of that kind"),
        (lambda c: c["test"].pop("audio"), "'test' has no array 'audio'"),
        (lambda c: c["test"].update(audio=[1.0]), "'test' has no array 'audio'"),
        (lambda c: c["test"].update(audio=np.zeros((4, 50))), r"must be \(4, tokens, features\)"),
        (lambda c: c["test"].update(audio=np.zeros((4, 9, 9))), "'audio' has different shapes in"),
        (lambda c: c["test"].update(labels=np.zeros((4, 7))), "must be one number a sample"),
        (lambda c: c["test"]["vision"].fill(np.nan), "'vision' holds entries that are not finite"),
        (lambda c: c["test"]["text"].fill(0), "no sample of 'test' has any text"),
        (lambda c: c["test"].update(text=c["test"]["id"]), "'text' must hold numbers"),
    ],
)
def test_other_contents(tmp_path: Path, change: Any, message: str) -> None:
    given = content()
    change(given)
    with pytest.raises(ValueError, match=message):
        read_affect(pickled(tmp_path / "other.pkl", given))


def test_files_that_are_no_whole_pickle(tmp_path: Path) -> None:
    whole = pickle.dumps({"train": {"audio": np.ones((2, 3))}}, protocol=4)
    path = tmp_path / "cut.pkl"
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.pkl"):
            read_affect(path)
    path.write_bytes(b"\x80\x04\x8e" + (2**50).to_bytes(8, "little") + b"abc.")
    with pytest.raises(ValueError, match=r"cut\.pkl is no whole pickle"):
        read_affect(path)
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        read_affect(tmp_path / "nowhere")


def test_it_asks_for_trust_and_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = pickled(tmp_path / "mosi.pkl", content()), tmp_path / "mosi.npz"
    assert main([str(source), str(out)]) == 2
    assert "can run code when read; if you trust who made it" in capsys.readouterr().err
    assert not out.exists()
    out.write_bytes(b"mine")
    assert main([str(source), str(out), "--trust"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert main([str(source), str(tmp_path / "mosi.pt"), "--trust"]) == 2
    assert main([str(source), str(out), "--trust", "--overwrite"]) == 0
    assert len(data.from_npz(out)) == 13
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["mosi.npz", "mosi.pkl"]


def test_a_pickle_that_claims_to_remember_much_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.pkl"
    path.write_bytes(b"\x80\x02}r" + (2**31 - 1).to_bytes(4, "little") + b".")
    with pytest.raises(ValueError, match=r"huge\.pkl must be a dict train/valid/test"):
        read_affect(path)
