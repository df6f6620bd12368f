"""Tables written to files."""

from pathlib import Path

TABLE = """audio_1,audio_2,motion.x,class,motion.y
1,2,3,sweep,4
5,6,7,brush,8
9,10,11,sweep,12
"""


def written(folder: Path, text: str, name: str = "set.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
