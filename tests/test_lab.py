"""The interactive page as a text, and the command that writes it. The page itself is played with in
tests/test_lab_browser.py and the files beside it."""

import base64
import json
import re
import webbrowser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.cli import main
from pnpfusion.visualize.lab.page import SCRIPTS, presets
from pnpfusion.visualize.lab.recording import ROOM, Thinning

MOST = 500_000  #: bytes of a page
FOLDER = Path(pf.visualize.__file__).parent / "lab"


def given(page: str) -> dict:
    """The data in a page."""
    return json.loads(re.search(r'id="given">(.*?)</script>', page, re.S)[1])


def unpacked(text: str, kind: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def a_run(batch=(2,), cells=40, times=5, **more):
    cell = pf.PNP(
        pf.Grid((cells,), (1.0,), ("wall",)),
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=0.05,
        walls={"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-1.0)},
        **more,
    )
    c0 = torch.ones(*batch, 2, cells, dtype=torch.float64)
    return pf.simulate(cell, c0, torch.linspace(0, 0.1, times, dtype=torch.float64), rtol=1e-4)


class TestPage:
    page = pf.visualize.lab_page()

    def test_it_is_one_small_file_that_loads_nothing(self):
        assert len(self.page.encode()) < MOST
        links = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", self.page)
        assert links
        assert all(link.startswith("data:") for link in links)
        for word in ("fetch(", "XMLHttpRequest", "import(", "@import", "WebSocket", "sendBeacon"):
            assert word not in self.page
        addresses = set(re.findall(r"https?://[^\s\"'<)]+", self.page))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which nothing loads
        assert "default-src 'none'" in self.page

    def test_all_its_parts_are_in_it(self):
        assert not re.search(r"\{\{\w+\}\}", self.page)
        assert {path.stem for path in FOLDER.glob("*.js")} == set(SCRIPTS)
        assert pf.__version__ in self.page

    def test_text_in_a_run_is_no_markup(self):
        page = pf.visualize.lab_page(a_run(), title="</script><script>alert(1)</script>")
        assert "<script>alert" not in page
        assert given(page)["run"]["title"] == "</script><script>alert(1)</script>"


def test_the_presets_say_what_they_show():
    told = presets()
    assert len(told) >= 5
    assert len({one["name"] for one in told}) == len(told)
    measures = (FOLDER / "measures.js").read_text()
    for one in told:
        assert set(one) == {"name", "title", "claim", "tab", "measure", "settings"}
        assert f"\n  {one['measure']}(run)" in measures
        assert set(one["settings"]) == set(told[0]["settings"])
    assert {one["settings"]["solver"] for one in told} == {"implicit", "explicit", "anderson"}


class TestRecording:
    def test_a_run_is_in_the_page_as_it_is(self):
        run = a_run((2, 3))
        told = given(pf.visualize.lab_page(run, title="mine"))["run"]
        assert told["title"] == "mine"
        assert told["samples"][4] == "5 of 6 (index (1, 1))"
        c = unpacked(told["concentrations"], "<f4", 5, 6, 2, 40)
        np.testing.assert_array_equal(c, run.states.reshape(5, 6, 2, 40).float().numpy())
        phi = run.dynamics.potential(run.states).reshape(5, 6, 40).float().numpy()
        np.testing.assert_array_equal(unpacked(told["potentials"], "<f4", 5, 6, 40), phi)
        mass = unpacked(told["ledger"]["mass"], "<f8", 5, 6, 2)
        np.testing.assert_array_equal(mass, run.ledger.mass.reshape(5, 6, 2).numpy())
        assert told["walls"] == [[1.0, -1.0]] * 6
        assert told["fixed"] is None
        assert told["note"] == ""

    def test_fixed_charge_is_told(self):
        charge = torch.linspace(-1, 1, 40, dtype=torch.float64)
        run = a_run((), fixed_charge=pf.Field(charge))
        told = given(pf.visualize.lab_page(run))["run"]
        np.testing.assert_allclose(unpacked(told["fixed"], "<f4", 40), charge, atol=1e-6)

    def test_each_sample_has_its_own_valences(self):
        cell = pf.PNP(
            pf.Grid((64,), (1.0,), ("wall",)),
            [pf.Species("cation", torch.tensor([1.0, 3.0])), pf.Species("anion", -1)],
            permittivity=0.05,
            walls={"x-": pf.Wall(potential=0.5), "x+": pf.Wall(potential=-0.5)},
        )
        c0 = torch.ones(2, 2, 64, dtype=torch.float64)
        run = pf.simulate(cell, c0, torch.tensor([0.0, 0.01], dtype=torch.float64))
        told = given(pf.visualize.lab_page(run))["run"]
        assert told["valences"] == [[1, -1], [3, -1]]
        assert told["fixed"] is None  # what a mean valence would have left over

    def test_it_says_what_its_times_are(self):
        run = a_run()
        assert given(pf.visualize.lab_page(run))["run"]["clock"] == "time"
        cell, c0 = run.dynamics, run.states[0]
        rounds = pf.unroll(cell, c0, 3, step=1e-6)
        assert given(pf.visualize.lab_page(rounds))["run"]["clock"] == "rounds"
        rest = pf.equilibrium(cell, c0)
        told = given(pf.visualize.lab_page(rest))["run"]
        assert (told["clock"], told["answered"]) == ("rest", [True, True])

    def test_walls_that_move_are_told_at_each_time(self, tmp_path):
        cell = pf.PNP(
            pf.Grid((64,), (1.0,), ("wall",)),
            [pf.Species("cation", 1), pf.Species("anion", -1)],
            permittivity=0.05,
            walls={"x-": pf.Wall(potential=lambda t: 10 * t), "x+": pf.Wall(potential=0.0)},
        )
        c0 = torch.ones(2, 64, dtype=torch.float64)
        times = torch.tensor([0.0, 0.05, 0.1], dtype=torch.float64)
        run = pf.simulate(cell, c0, times)
        for one in (run, pf.load(run.save(tmp_path / "run.safetensors"))):
            told = given(pf.visualize.lab_page(one))["run"]
            left, right = told["walls"][0]
            assert left == pytest.approx([0, 0.5, 1])
            assert right == 0
            phi = unpacked(told["potentials"], "<f4", 3, 64)
            wanted = cell.potential(run.final, t=times[-1])
            np.testing.assert_allclose(phi[-1], wanted, atol=1e-5)

    @pytest.mark.parametrize(
        "sizes", [(5, 6, 2, 40), (2001, 1, 2, 64), (61, 500, 4, 128), (3, 1, 6, 100_000)]
    )
    def test_it_is_thinned_until_it_fits(self, sizes):
        times, samples, species, cells = sizes
        thin = Thinning.of(*sizes)
        rows, columns = thin.rows(times), thin.columns(cells)
        assert rows[0] == 0
        assert rows[-1] == times - 1
        assert columns.max() < cells
        kept = len(rows) * thin.samples
        size = kept * (4 * (species + 1) * len(columns) + 8 * (species + 3))
        assert size <= ROOM
        assert size > ROOM / 8 or (thin.times, thin.samples, thin.cells) == (1, samples, 1)

    def test_a_large_run_makes_a_page_that_is_small_enough(self):
        run = a_run((9,), cells=301, times=41)
        page = pf.visualize.lab_page(run)
        assert len(page.encode()) < MOST
        told = given(page)["run"]
        assert "of 41 times" in told["note"]
        x = unpacked(told["x"], "<f8", -1)
        own = run.dynamics.grid.coordinates(0).numpy()
        assert set(x) <= set(own)
        samples, times = len(told["samples"]), len(unpacked(told["times"], "<f8", -1))
        c = unpacked(told["concentrations"], "<f4", times, samples, 2, len(x))
        columns = np.searchsorted(own, x)
        np.testing.assert_array_equal(c[-1, 0], run.final[0].float().numpy()[:, columns])

    def test_walls_that_let_through_are_told(self):
        bath = {"cation": 1.0, "anion": 1.0}
        walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(concentration=bath)}
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        cell = pf.PNP(pf.Grid((64,), (1.0,), ("wall",)), ions, permittivity=0.1, walls=walls)
        c0 = torch.full((2, 64), 0.5, dtype=torch.float64)
        run = pf.simulate(cell, c0, torch.tensor([0.0, 0.1], dtype=torch.float64))
        assert given(pf.visualize.lab_page(run))["run"]["reservoirs"] == [False, True]
        assert given(pf.visualize.lab_page(a_run()))["run"]["reservoirs"] == [False, False]

    def test_other_runs_are_refused(self):
        grid = pf.Grid((8, 8), (1.0, 1.0), ("periodic", "periodic"))
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        plane = pf.PNP(grid, ions, permittivity=1.0)
        c0 = torch.ones(2, 8, 8, dtype=torch.float64)
        with pytest.raises(ValueError, match=r"`run` must have one axis of space.*Grid\(\(8,\)"):
            pf.visualize.lab_page(pf.simulate(plane, c0, torch.tensor([0.0, 0.1]).double()))
        law = pf.ContractiveDEQ(modalities=1, width=2)
        rest = pf.unroll(law, torch.zeros(1, 2, 2), 2, x=torch.zeros(1, 1, 2))
        with pytest.raises(ValueError, match=r"pnpfusion\.PNP cell, got ContractiveDEQ"):
            pf.visualize.lab_page(rest)
        with pytest.raises(ValueError, match="must name the 2 samples"):
            pf.visualize.lab_page(a_run(), samples=["one"])


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
