"""What a script has drawn: movies as GIFs, figures as Sphinx-Gallery saves them."""

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.animation import Animation
from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save a block's movies, which stand in names of the module, and then its other figures."""
    rst = ""
    for movie in block_vars["example_globals"].values():
        if isinstance(movie, Animation) and plt.fignum_exists(movie._fig.number):
            path = Path(next(block_vars["image_path_iterator"])).with_suffix(".gif")
            movie.save(path, writer="pillow")
            movie._fig.savefig(path.with_suffix(".png"))  # its last frame, for the thumbnail
            rst += figure_rst([path], gallery_conf["src_dir"], "a movie; the text above tells it")
            plt.close(movie._fig)
    return rst + str(matplotlib_scraper(block, block_vars, gallery_conf))
