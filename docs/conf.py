"""How the documentation site is built; `make docs` calls Sphinx with it."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import pnpfusion as pf  # noqa: E402

project = "pnpfusion"
author = copyright = "the pnpfusion authors"
version = release = pf.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    *(
        "command_line",
        "lab",
        "mathml",
        "sources",
        "references",
        "shapes",
        *("self_contained", "tables"),
    ),  # in _ext
]
exclude_patterns = ["_build", "examples", "lessons", "**/GALLERY_HEADER.rst"]

# ---- docstrings
default_role = "py:obj"  # `simulate` is code, and a link where it is a public name
add_module_names = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# ---- Markdown
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4

# ---- scripts: the gallery and the lessons; each asserts its claim, and a false one stops the build
galleries = {"examples": "gallery", "lessons": "lesson"}
sphinx_gallery_conf = {
    "examples_dirs": list(galleries),
    "gallery_dirs": list(galleries.values()),
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py",
    "subsection_order": [f"examples/{name}" for name in ("physics", "fusion", "in_your_code")],
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "image_scrapers": ("movies.scraper",),
    "capture_repr": (),
    "write_computation_times": False,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}

# ---- pages
html_theme = "furo"
html_math_renderer = "mathml"
html_title = "pnpfusion"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it would fetch pages, which browsers refuse from file://
html_last_updated_fmt = None
pygments_style, pygments_dark_style = "default", "github-dark"


def skip_what_points_elsewhere(app, kind, name, thing, skip, options):
    """A method that only says "See ..." is told of there."""
    return True if (getattr(thing, "__doc__", "") or "").startswith("See ") else None


def setup(app):
    app.connect("autodoc-skip-member", skip_what_points_elsewhere)
