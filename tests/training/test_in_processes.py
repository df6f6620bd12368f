"""One training shared by several processes: the same command, the same result."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pnpfusion.cli import main
from tests.cli.test_train import write_set
from tests.processes import by_hand, ended, together, torchrun, two_ranks

pytestmark = together
#: 53 samples to learn from, in batches of 16, 16, 16, 5.
TOLD = ["train", "--data", "mine.npz", "--epochs", "3", "--batch", "16", "--quiet"]
TOLD += ["--modality-dropout", "0.3", "--precision", "float64", "--class-weights", "balanced"]
MODELS = ["pnp", "gmf", "deq", "pnp+deq", "completion+pnp"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_set(tmp_path, 89)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two learn; the two learn all models, which spares starting them."""
    here = tmp_path_factory.mktemp("learned")
    write_set(here, 89)
    script = here / "all_models.py"
    script.write_text(
        "from torch import distributed\n"
        "from pnpfusion.cli import main\n"
        "distributed.init_process_group('gloo')\n"
        f"for model in {MODELS}:\n"
        f"    assert main([*{TOLD}, '--model', model, '--out', 'two/' + model]) == 0, model\n"
        "distributed.destroy_process_group()\n"
    )
    code, said = torchrun(2, str(script), here=here)
    assert code == 0, said
    with contextlib.chdir(here):
        for model in MODELS:
            assert main([*TOLD, "--model", model, "--out", f"one/{model}"]) == 0
    return here


@pytest.mark.parametrize("model", MODELS)
def test_two_processes_learn_what_one_learns(learned: Path, model: str) -> None:
    first, second = learned / "one" / model, learned / "two" / model
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()}
    one, two = (load_file(folder / "model.safetensors") for folder in (first, second))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-6, atol=1e-8, msg=key)
    for alone, shared in zip(rows(first), rows(second), strict=True):
        assert shared["train"] == pytest.approx(alone["train"], rel=1e-6)
        assert shared["valid"] == pytest.approx(alone["valid"], rel=1e-6)
        for name, value in alone["health"].items():  # means and largest values over all samples
            # What is left of a rate at rest is round-off, and another for other parts of a batch.
            slack, least = (0.1, 1e-11) if "residual" in name else (1e-6, 1e-12)
            assert shared["health"][name] == pytest.approx(value, rel=slack, abs=least), name


def test_what_only_one_process_sees_is_told_by_all(here: Path) -> None:
    """Rank 1 has what did not converge, more iterations, and the only residual and gradient."""
    script = here / "health.py"
    script.write_text(
        "import torch\n"
        "from pnpfusion.sweeps.crew import assembled\n"
        "from pnpfusion.training.health import to_numbers\n"
        "from pnpfusion.training.parallel import own_place, sum_over\n"
        "from pnpfusion.training.step import Learner\n"
        "from pnpfusion.training.tally import Tally\n"
        "with assembled() as crew:\n"
        "    own, all_of_them = Tally(), Tally()\n"
        "    own.add('iterations', 3.0 + 4 * crew.rank, 10)\n"
        "    own.add('unconverged', 0.5 * crew.rank, 10)\n"
        "    own.peak('iterations_max', 5.0 + 20 * crew.rank)\n"
        "    if crew.rank:\n"
        "        own.add('gradient_unconverged', 0.25, 10)\n"
        "        own.peak('residual_max', 0.125)\n"
        "    learner = Learner.__new__(Learner)\n"
        "    learner.crew = crew\n"
        "    told = sum_over(crew, torch.tensor(own_place(crew, to_numbers(own))))\n"
        "    learner._merge(all_of_them, own, told.tolist())\n"
        "    assert all_of_them.numbers() == {\n"
        "        'iterations': 5.0, 'unconverged': 0.25, 'gradient_unconverged': 0.25,\n"
        "        'iterations_max': 25.0, 'residual_max': 0.125}, all_of_them\n"
    )
    codes, said = by_hand(here, str(script))
    assert codes == [0, 0], said


def test_more_processes_than_samples_of_a_batch(here: Path) -> None:
    told = [*TOLD, "--model", "concat", "--batch", "2"]
    assert main([*told, "--out", "one"]) == 0
    code, said = torchrun(3, "-m", "pnpfusion", *told, "--out", "three", here=here)
    assert code == 0, said
    one, three = (load_file(here / name / "model.safetensors") for name in ("one", "three"))
    for key, value in one.items():
        torch.testing.assert_close(three[key], value, rtol=1e-6, atol=1e-8, msg=key)


def test_the_folder_is_chosen_once_and_bad_input_is_said_once(here: Path) -> None:
    code, said = torchrun(2, "-m", "pnpfusion", *TOLD, "--model", "concat", here=here)
    assert code == 0, said
    assert [path.name for path in (here / "runs").iterdir()] == ["train-001"]
    codes, words = by_hand(here, "-m", "pnpfusion", *TOLD, "--model", "pmp")
    assert codes == [2, 2]
    (line,) = "".join(words).splitlines()
    assert "did you mean 'pnp'" in line


def test_a_killed_process_is_missed_and_two_go_on_from_there(here: Path) -> None:
    """What two began one may end."""
    long = ["--epochs", "60", "--patience", "none", "--model", "concat", "--checkpoint-every", "0"]
    told = [*TOLD, *long]
    assert main([*told, "--out", "whole"]) == 0
    script = here / "dying.py"
    script.write_text(
        "import os, signal, sys\n"
        "from pnpfusion.cli import main\n"
        "from pnpfusion.training.step import Learner\n"
        "plain, calls = Learner.step, []\n"
        "def step(self, *given):\n"
        "    calls.append(1)\n"
        "    if os.environ['RANK'] == '1' and len(calls) == 100:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return plain(self, *given)\n"
        "Learner.step = step\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    codes, said = by_hand(here, str(script), *told, "--out", "cut")
    assert codes == [1, -signal.SIGKILL], said
    assert "another process of the training has died" in said[0]
    assert "goes on from the last checkpoint" in " ".join(said[0].split())
    assert not (here / "cut" / "model.safetensors").exists()
    assert main(["train", "--resume", "cut", "--quiet"]) == 0
    one, two = (load_file(here / name / "model.safetensors") for name in ("whole", "cut"))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-6, atol=1e-8, msg=key)


def test_sigterm_to_one_stops_all_at_the_same_step(here: Path) -> None:
    long = ["--epochs", "4000", "--patience", "none", "--model", "concat", "--out", "cut"]
    ranks = two_ranks(here, "-m", "pnpfusion", *TOLD, *long)
    deadline, metrics = time.monotonic() + 90, here / "cut" / "metrics.jsonl"
    while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.05)
    ranks[1].send_signal(signal.SIGTERM)
    codes, said = ended(ranks)
    assert codes == [130, 143], said
    assert "Go on with: pnpfusion train --resume cut" in said[0]
    assert (here / "cut" / "checkpoint.safetensors").exists()
