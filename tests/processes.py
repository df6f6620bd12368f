"""One program in several processes that meet: begun by torchrun, or by hand."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed

from tests.source_tree import environment

together = [
    pytest.mark.slow,
    pytest.mark.skipif(not distributed.is_available(), reason="torch was built without it"),
]


def of_processes(**more: str) -> dict[str, str]:
    """The environment of processes that meet on this machine."""
    loopback = "lo" in [name for _, name in socket.if_nameindex()]
    return environment(**({"GLOO_SOCKET_IFNAME": "lo"} if loopback else {}), **more)


def torchrun(processes: int, *program: str, here: Path, **more: str) -> tuple[int, str]:
    """Its exit code, and what it and its processes said."""
    agent = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [sys.executable, *agent, *program],
        cwd=here,
        env=of_processes(**more),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def two_ranks(here: Path, *program: str, **more: str) -> list[subprocess.Popen[str]]:
    """Two processes without an agent."""
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [
        subprocess.Popen(
            [sys.executable, *program],
            cwd=here,
            env=of_processes(RANK=str(rank), **place, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        for rank in range(2)
    ]


def ended(ranks: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """The exit codes of processes, and what each said; none outlives this."""
    try:
        said = [process.communicate(timeout=100)[0] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    return [process.returncode for process in ranks], said


def by_hand(here: Path, *program: str, **more: str) -> tuple[list[int], list[str]]:
    """How two processes without an agent end."""
    return ended(two_ranks(here, *program, **more))
