"""``pnpfusion lab``: the page that it writes, and how it says no."""

import webbrowser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.cli import main
from tests.lab.recordings import MOST, a_run, given, unpacked


class TestCommand:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.opened = []
        monkeypatch.setattr(webbrowser, "open", lambda url: self.opened.append(url) or True)

    def test_it_writes_the_page_and_opens_it(self, capsys):
        assert main(["lab"]) == 0
        page = Path("pnpfusion-lab.html")
        assert page.read_text(encoding="utf-8") == pf.visualize.lab_page()
        assert self.opened == [page.resolve().as_uri()]
        assert "pnpfusion-lab.html" in capsys.readouterr().out
        assert main(["lab"]) == 0  # its own page is replaced

    def test_it_says_where_the_page_is_if_there_is_no_browser(self, monkeypatch, capsys):
        monkeypatch.setattr(webbrowser, "open", lambda url: False)
        assert main(["lab"]) == 0
        assert str(Path("pnpfusion-lab.html").resolve()) in capsys.readouterr().err

    def test_a_file_of_the_user_is_not_replaced_unasked(self, capsys):
        Path("mine.html").write_text("mine")
        assert main(["lab", "--out", "mine.html", "--no-browser"]) == 2
        assert "--overwrite" in capsys.readouterr().err
        assert Path("mine.html").read_text() == "mine"
        assert main(["lab", "--out", "mine.html", "--no-browser", "--overwrite"]) == 0
        assert self.opened == []

    def test_a_saved_run_is_played(self):
        run = a_run()
        run.save("run.safetensors")
        for name in ("run.safetensors", "."):
            flags = ["--no-browser", "--out", "page.html", "--overwrite"]
            assert main(["lab", "--run", name, *flags]) == 0
            told = given(Path("page.html").read_text(encoding="utf-8"))["run"]
            c = unpacked(told["concentrations"], "<f4", 5, 2, 2, 40)
            np.testing.assert_array_equal(c[-1], run.final.float().numpy())
            assert "run.safetensors" in told["title"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--run", "nowhere", "--overwrite"], "there is no file nowhere"),
            (["--run", ".", "--overwrite"], "holds neither run.safetensors"),
            (["--run", "text", "--overwrite"], "wanted is what `Solution.save`"),
            (["--out", "."], "is a folder"),
            (["--out", "no/page.html"], "is not there; make it first"),
            (["--samples", "0"], "--samples"),
            (["--samples", "2", "--overwrite"], "add --run FOLDER"),
            (["--run", "text", "--samples", "2", "--overwrite"], "leave it out"),
            ([], "pnpfusion-lab.html is there already"),
        ],
    )
    def test_what_cannot_be_done_is_said(self, arguments, words, capsys):
        for name in ("text", "pnpfusion-lab.html"):
            Path(name).write_text("mine")
        try:
            code = main(["lab", "--no-browser", *arguments])
        except SystemExit as end:
            code = end.code
        assert code == 2
        assert words in capsys.readouterr().err
        assert Path("pnpfusion-lab.html").read_text() == "mine"

    def test_a_run_in_a_plane_is_refused_with_what_to_do(self, capsys):
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        plane = pf.PNP(pf.Grid((8, 8), (1.0, 1.0), ("periodic", "periodic")), ions, permittivity=1)
        c0 = torch.ones(2, 8, 8, dtype=torch.float64)
        pf.simulate(plane, c0, torch.tensor([0.0, 0.1]).double()).save("plane.safetensors")
        assert main(["lab", "--run", "plane.safetensors", "--no-browser"]) == 2
        said = capsys.readouterr().err
        assert "--run plane.safetensors must have one axis of space" in said
        assert "`solution`" not in said
        assert "such as `pnpfusion simulate` makes" in said
        assert main(["simulate", "--times", "3", "--out", "line", "--quiet", "--no-gif"]) == 0
        assert main(["lab", "--run", "line", "--no-browser"]) == 0

    def test_any_name_can_be_written(self):
        run = a_run(())
        odd = [pf.Species("\ud800", 1), pf.Species("</script><b>", -1)]
        cell = pf.PNP(run.dynamics.grid, odd, permittivity=0.05, walls=run.dynamics.walls)
        page = pf.visualize.lab_page(replace(run, dynamics=cell))
        page.encode()
        names = [one["name"] for one in given(page)["run"]["species"]]
        assert names == ["\ud800", "</script><b>"]

    def test_a_page_is_written_as_a_whole_or_not_at_all(self, monkeypatch, capsys):
        assert main(["lab", "--no-browser"]) == 0
        before = Path("pnpfusion-lab.html").read_bytes()

        def full(handle):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            assert main(["lab", "--no-browser"]) == 1
        assert "No space left on device" in capsys.readouterr().err
        assert [one.name for one in Path().iterdir()] == ["pnpfusion-lab.html"]
        assert Path("pnpfusion-lab.html").read_bytes() == before

    def test_a_run_without_a_cell_is_refused(self, capsys):
        law = pf.ContractiveDEQ(modalities=1, width=2)
        run = pf.unroll(law, torch.zeros(1, 2, 2), 2, x=torch.zeros(1, 1, 2))
        replace(run, dynamics=None).save("deq.safetensors")
        assert main(["lab", "--run", "deq.safetensors", "--no-browser"]) == 2
        assert "PNP cell" in capsys.readouterr().err

    @pytest.mark.slow
    @pytest.mark.parametrize(("model", "frames"), [("pnp", 31), ("pnp:run=transient", 5)])
    def test_a_trained_layer_is_played(self, model, frames):
        train = ["train", "--data", "interaction", "--model", model, "--epochs", "1"]
        assert main([*train, "--out", "trained", "--quiet"]) == 0
        assert main(["lab", "--run", "trained", "--samples", "2", "--no-browser"]) == 0
        told = given(Path("pnpfusion-lab.html").read_text(encoding="utf-8"))["run"]
        assert len(told["samples"]) == 16
        assert told["samples"][0].startswith("test sample ")
        times = unpacked(told["times"], "<f8", -1)
        assert len(times) == frames or model == "pnp"
        assert Path("pnpfusion-lab.html").stat().st_size < MOST
        smallest = unpacked(told["ledger"]["smallest"], "<f8", len(times), 16)
        assert (smallest > 0).all()

    @pytest.mark.slow
    def test_a_layer_without_cells_is_refused(self, capsys):
        train = ["train", "--data", "interaction", "--model", "concat", "--epochs", "1"]
        assert main([*train, "--out", "trained", "--quiet"]) == 0
        assert main(["lab", "--run", "trained", "--no-browser"]) == 2
        assert "--model pnp" in capsys.readouterr().err
