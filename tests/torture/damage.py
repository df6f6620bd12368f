"""Ways to damage a file: each takes its bytes and a generator, and returns others."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

Damage = Callable[[bytes, random.Random], bytes]
#: In the place of a number of a file: sizes, versions and counts that are not to be believed.
NUMBERS = ("0", "-1", "99", "1000000007", "999999999999999999", "1e400", "NaN", "null", '"text"')


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


def flip_bits(content: bytes, pick: random.Random) -> bytes:
    """One to four bits, anywhere."""
    return _flipped(content, pick, len(content))


def flip_start(content: bytes, pick: random.Random) -> bytes:
    """The same among the first bytes, where headers are."""
    return _flipped(content, pick, min(len(content), 400))


def cut_short(content: bytes, pick: random.Random) -> bytes:
    """What a full disk or a broken download leaves."""
    return content[: pick.randrange(len(content))]


def grow(content: bytes, pick: random.Random) -> bytes:
    """Something follows that does not belong there."""
    return content + pick.randbytes(pick.choice((1, 7, 400)))


def lose_a_block(content: bytes, pick: random.Random) -> bytes:
    """Bytes in the middle are gone, as zeros or altogether."""
    first = pick.randrange(len(content))
    last = min(len(content), first + pick.choice((1, 8, 64, 512)))
    return content[:first] + pick.choice((b"", bytes(last - first))) + content[last:]


def double_a_block(content: bytes, pick: random.Random) -> bytes:
    """Bytes in the middle come twice."""
    first = pick.randrange(len(content))
    last = min(len(content), first + pick.choice((1, 8, 64, 512)))
    return content[:last] + content[first:]


def change_a_number(content: bytes, pick: random.Random) -> bytes:
    """A number that is written out: a size, a version, a count."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?(e-?\d+)?", content))
    if not found:
        return flip_bits(content, pick)
    at = pick.choice(found[:400])
    return content[: at.start()] + pick.choice(NUMBERS).encode() + content[at.end() :]


def declare_more(content: bytes, pick: random.Random) -> bytes:
    """Eight bytes anywhere say a huge size."""
    at = pick.choice((0, pick.randrange(max(1, min(len(content), 2000)))))
    size = pick.choice((2**31, 2**40, 2**63 - 1)).to_bytes(8, "little")
    return content[:at] + size + content[at + 8 :]


def change_a_header(content: bytes, pick: random.Random) -> bytes:
    """A number in the header of a safetensors file, whose length is then right again."""
    if content[8:9] != b"{":
        return change_a_number(content, pick)
    length = int.from_bytes(content[:8], "little")
    header = change_a_number(content[8 : 8 + length], pick)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def change_a_member(content: bytes, pick: random.Random) -> bytes:
    """One member of an archive, whose sums are then right again."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return flip_start(content, pick)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = pick.choice(names)
        for name in names:
            inner = old.read(name)
            how = pick.choice((flip_start, cut_short, change_a_number, declare_more))
            new.writestr(name, how(inner, pick) if name == chosen else inner)
    return out.getvalue()


def nest_deeply(content: bytes, pick: random.Random) -> bytes:
    """JSON and the like, deeper than any stack; in the place of a value, or of all.

    In a safetensors file it is a value of our header, and the length of the file's is right again.
    """
    deep = pick.choice((b"[", b'{"a":', b"(")) * pick.choice((2000, 100_000))
    at, inner = content.find(b":") + 1, content.find(b'\\":') + 3
    if not at or pick.random() < 0.5:
        return deep
    if content[8:9] != b"{" or inner < 3:
        return content[:at] + deep + content[at:]
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:inner] + b"[" * len(deep) + content[inner:end]
    return len(header).to_bytes(8, "little") + header + content[end:]


def replace_all(content: bytes, pick: random.Random) -> bytes:
    """Something else altogether."""
    bomb = pickle.dumps(Bomb(), protocol=pick.randrange(5))
    digits = b'{"format": 1, "epochs": ' + b"9" * 5000 + b"}"
    text = json.dumps({"format": 1, "pnpfusion": "{}"}).encode()
    return pick.choice((b"", b"\n", b"null", b"[]", b"{}", pick.randbytes(600), bomb, digits, text))


def change_a_value(content: bytes, pick: random.Random) -> bytes:
    """Of JSON, wherever it is: one value of another kind or size; what is no JSON loses a block."""
    try:
        told = json.loads(content)
    except ValueError:
        return lose_a_block(content, pick)
    places = [*_places(told)]
    if not places:
        return replace_all(content, pick)
    inside, key = pick.choice(places)
    odd = (None, True, -1, 0, 10**12, 1e-300, "", "junk", [], {}, [1, [2]], {"a": 1}, "x" * 9999)
    if pick.random() < 0.2:
        del inside[key]
    else:
        inside[key] = pick.choice(odd)
    return json.dumps(told).encode()


def forge(content: bytes, pick: random.Random) -> bytes:
    """A header of ours with another value and a digest that is right again."""
    from pnpfusion.sealed_file import digest, seal

    try:
        tensors, length = load(content), int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        key, header = next((key, json.loads(told)) for key, told in metadata.items())
    except (ValueError, KeyError, TypeError, StopIteration, SafetensorError):
        return change_a_header(content, pick)
    if not isinstance(header, dict):
        return change_a_header(content, pick)
    if {*header} == {"digest", "header"}:  # it is packed
        text = change_a_value(header["header"].encode(), pick).decode()
        return save(tensors, {key: json.dumps({"digest": digest(tensors, text), "header": text})})
    header = json.loads(change_a_value(json.dumps(header).encode(), pick))
    header["digest"] = seal(header, {} if "digests" in header else tensors)
    return save(tensors, {key: json.dumps(header)})


def _places(told: Any) -> list[tuple[Any, Any]]:
    """Every place in JSON: what it is in, and its name or number there."""
    if not isinstance(told, dict | list):
        return []
    keys = [*(told if isinstance(told, dict) else range(len(told)))]
    return [(told, key) for key in keys] + [one for key in keys for one in _places(told[key])]


def _flipped(content: bytes, pick: random.Random, end: int) -> bytes:
    changed = bytearray(content)
    for _ in range(pick.randint(1, 4)):
        changed[pick.randrange(end)] ^= 1 << pick.randrange(8)
    return bytes(changed)


ALL: tuple[Damage, ...] = (
    flip_bits,
    flip_start,
    cut_short,
    grow,
    lose_a_block,
    double_a_block,
    change_a_number,
    declare_more,
    change_a_header,
    change_a_member,
    nest_deeply,
    replace_all,
    change_a_value,
    forge,
)
