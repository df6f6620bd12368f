"""The interactive page as a text. It is played with in tests/lab/test_browser.py and beside it."""

import re
from pathlib import Path

import pnpfusion as pf
from pnpfusion.visualize.lab.page import SCRIPTS, presets
from tests.lab.recordings import MOST, a_run, given

FOLDER = Path(pf.visualize.__file__).parent / "lab"


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
