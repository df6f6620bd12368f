"""Run one script of the gallery and keep what it shows: ``run_example.py SCRIPT FOLDER``.

Every open figure becomes ``figure_N.png``, an animation called ``movie`` becomes ``movie.gif``.
What is printed last is the processor time of the script itself, imports of its own included.
"""

import runpy
import sys
import time
from pathlib import Path


def main(script: str, folder: str) -> None:
    began = time.process_time()
    names = runpy.run_path(script, run_name="__main__")
    took = time.process_time() - began
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        if movie := names.get("movie"):
            movie.save(out / "movie.gif", writer="pillow")
        for number in pyplot.get_fignums():
            pyplot.figure(number).savefig(out / f"figure_{number}.png")
    print(f"{took:.1f} s of processor time")


if __name__ == "__main__":
    main(*sys.argv[1:])
