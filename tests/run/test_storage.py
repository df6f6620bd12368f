import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

import pnpfusion as pf
from pnpfusion import sealed_file
from pnpfusion.sealed_file import write_tensors
from tests.registry import Decay, f64, times


def run_of_everything(dtype=f64):
    """A batched run whose cell has numbers, tensors and fields everywhere they may be."""
    cell = pf.PNP(
        pf.Grid((24,), (1.0,), ("wall",), edges=(torch.linspace(0, 1, 25).double() ** 1.2,)),
        [
            pf.Species("cation", +1, pf.Field(torch.linspace(1, 2, 24))),
            pf.Species("anion", torch.tensor([-1.0, -2.0]), torch.tensor(1.5)),
        ],
        permittivity=torch.tensor([0.5, 0.7], dtype=f64),
        walls={
            "x-": pf.Wall(potential=torch.nn.Parameter(torch.tensor([0.3, -1.0]))),
            "x+": pf.Wall(potential=0.0, stern=0.1, concentration={"cation": torch.tensor(1.1)}),
        },
        fixed_charge=pf.Field(0.1 * torch.ones(24)),
        scheme="harmonic",
    )
    x = {"potential:x+": torch.tensor([0.1, 0.2])}
    return pf.simulate(cell, torch.ones(2, 2, 24, dtype=dtype), times(0, 0.01, 0.1), x=x)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_run_comes_back_whole(tmp_path, dtype):
    run = run_of_everything(dtype)
    path = run.save(tmp_path / "run.safetensors")
    back = pf.load(path)
    assert back.outcome is run.outcome
    for name in ("times", "states", "succeeded", "residuals", "lowest"):
        assert torch.equal(getattr(back, name), getattr(run, name))
    assert torch.equal(back.work.iterations, run.work.iterations)
    assert repr(back.dynamics.grid) == repr(run.dynamics.grid)
    assert torch.equal(
        back.dynamics.potential(back.final, back.x), run.dynamics.potential(run.final, run.x)
    )
    assert torch.equal(back.ledger.free_energy, run.ledger.free_energy)
    with torch.no_grad():
        on = [pf.simulate(r.dynamics, r.final, times(0.1, 0.2), x=r.x).final for r in (run, back)]
    assert torch.equal(*on)  # a run goes on from its file as it would have


def test_the_header_says_what_the_file_is(tmp_path):
    path = run_of_everything().save(tmp_path / "run.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pnpfusion"])
    assert header["format"] == 1
    assert header["version"] == pf.__version__
    assert header["outcome"] == "REACHED_END"
    assert header["units"]["times"] == "L^2/D_ref"
    assert header["dynamics"]["species"][0]["name"] == "cation"
    assert header["dynamics"]["permittivity"] == {"$tensor": "dynamics.permittivity"}
    assert header["units"]["dynamics.permittivity"] == "1"
    assert header["units"]["dynamics.walls.x-.potential"] == "kT/e"


def test_nothing_is_overwritten_unasked(tmp_path):
    run = run_of_everything()
    path = run.save(tmp_path / "run.safetensors")
    with pytest.raises(FileExistsError, match="choose another name or overwrite=True"):
        run.save(path)
    run.save(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="is not there; make it first"):
        run_of_everything().save(tmp_path / "nowhere" / "run.safetensors")


def test_a_law_that_no_file_can_hold_is_named_and_its_run_can_still_be_kept(tmp_path):
    run = pf.simulate(Decay(), torch.ones(2), times(0, 1))
    with pytest.raises(ValueError, match=r"laws \['PNP'\], not Decay"):
        run.save(tmp_path / "run.safetensors")
    replace(run, dynamics=None).save(tmp_path / "run.safetensors")
    back = pf.load(tmp_path / "run.safetensors")
    assert torch.equal(back.states, run.states)
    with pytest.raises(ValueError, match="keeps no ledger"):
        _ = back.ledger


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        pf.load(tmp_path / "missing")
    text = tmp_path / "text"
    text.write_text("hello, this is not it")
    other = tmp_path / "other"
    save_file({"weights": torch.ones(3)}, other)
    for path, words in (
        (text, "is not a run saved by pnpfusion: it is no safetensors file; wanted is"),
        (other, "is not a run saved by pnpfusion, or is damaged"),
    ):
        with pytest.raises(ValueError, match=words):
            pf.load(path)


def test_a_trained_model_is_told_how_to_be_loaded(tmp_path):
    rows = {"a": torch.randn(6, 3), "b": torch.randn(6, 2)}
    data = pf.data.Features("few", rows, target=torch.arange(6) % 2, class_names=("no", "yes"))
    pf.training.FusionModel.build(data, "concat").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds a trained model, .*from_pretrained\(") as told:
        pf.load(tmp_path / "model.safetensors")
    assert "damaged:" not in str(told.value)


def test_a_newer_format_and_a_damaged_header_are_refused(tmp_path):
    path = run_of_everything().save(tmp_path / "run.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pnpfusion"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    newer = tmp_path / "newer"
    save_file(tensors, newer, metadata={"pnpfusion": json.dumps(header | {"format": 99})})
    with pytest.raises(ValueError, match="has format 99, this version of pnpfusion reads format 1"):
        pf.load(newer)
    for key in ("dynamics", "outcome", "law"):
        damaged = tmp_path / key
        save_file(tensors, damaged, metadata={"pnpfusion": json.dumps(header | {key: "junk"})})
        with pytest.raises(ValueError, match="is damaged"):
            pf.load(damaged)


def test_a_truncated_file_is_refused(tmp_path):
    path = run_of_everything().save(tmp_path / "run.safetensors")
    data = path.read_bytes()
    for size in (4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match="damaged"):
            pf.load(path)


def test_a_changed_byte_is_seen(tmp_path):
    path = run_of_everything().save(tmp_path / "run.safetensors")
    content = path.read_bytes()
    for place in (content.index(b"REACHED_END"), len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="is damaged: its content is not what was written"):
            pf.load(path)


def test_a_file_without_a_digest_is_read_as_it_is(tmp_path):
    run = run_of_everything()
    path = run.save(tmp_path / "run.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pnpfusion"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del header["digest"]
    save_file(tensors, path, metadata={"pnpfusion": json.dumps(header)})
    assert torch.equal(pf.load(path).states, run.states)


def test_tensors_that_share_memory_and_names_of_any_kind_are_kept(tmp_path):
    d = torch.tensor([1.0, 2.0], dtype=f64)
    cell = pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [pf.Species("tensor", 1, d), pf.Species("field", -1, d)],
        permittivity=np.float32(0.5),
        walls={"x-": pf.Wall(potential=0.0, concentration={"tensor": 1.0})},
    )
    c0 = torch.ones(2, 2, 8, dtype=f64)
    run = pf.unroll(cell, c0, 3, step=1e-4)
    back = pf.load(run.save(tmp_path / "run.safetensors"))
    assert torch.equal(back.states, run.states)
    assert back.dynamics.walls["x-"].concentration == {"tensor": 1.0}
    assert torch.equal(back.dynamics.flux(back.final), run.dynamics.flux(run.final))


def test_a_run_at_chebyshev_points_comes_back_as_what_it_was(tmp_path):
    grid = pf.ChebyshevGrid((17,), (2.0,))
    walls = {"x-": pf.Wall(potential=-1.0), "x+": pf.Wall(potential=1.0)}
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    cell = pf.PNP(grid, ions, permittivity=0.5, walls=walls, scheme="spectral")
    run = pf.simulate(cell, torch.ones(2, 17, dtype=torch.float64), torch.linspace(0, 0.1, 3))
    back = pf.load(run.save(tmp_path / "run.safetensors"))
    assert back.dynamics.grid == grid
    assert back.choice == run.choice
    assert torch.equal(back.dynamics.potential(back.final), cell.potential(run.final))


def test_a_file_is_byte_by_byte_what_safetensors_writes(tmp_path):
    tensors = {
        "flag": torch.tensor([True, False, True]),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "number": torch.tensor(2.0, dtype=f64),
        "none": torch.empty(0, 4),
        "ç\n": torch.arange(12, dtype=torch.int32).reshape(3, 4).T,
    }
    write_tensors(tmp_path / "file", tensors, "key", '{"words": "größer"}')
    plain = {name: values.contiguous() for name, values in tensors.items()}
    wanted = save(plain, metadata={"key": '{"words": "größer"}'})
    assert (tmp_path / "file").read_bytes() == wanted


def test_saving_makes_no_copy_of_the_states(tmp_path, monkeypatch):
    """What is hashed and written is the run's own memory."""
    run = run_of_everything()
    own, seen, bytes_of = run.states.data_ptr(), [], sealed_file.bytes_of

    def watched(values):
        seen.append(np.asarray(bytes_of(values)).ctypes.data)
        return bytes_of(values)

    monkeypatch.setattr(sealed_file, "bytes_of", watched)
    run.save(tmp_path / "run.safetensors")
    assert seen.count(own) == 2


@pytest.mark.parametrize("value", ["[" * 100_000, "[" * 600 + "]" * 600, "9" * 5000])
@pytest.mark.parametrize("key", ["dynamics", "x"])
def test_a_header_that_python_cannot_read_is_named_with_its_file(tmp_path, key, value):
    path = run_of_everything().save(tmp_path / "run.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pnpfusion"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del header["digest"]
    text = json.dumps(header | {key: "HERE"}).replace('"HERE"', value)
    save_file(tensors, path, metadata={"pnpfusion": text})
    with pytest.raises(ValueError, match=r"run\.safetensors is .*damaged"):
        pf.load(path)
