"""A program in a process of its own, asked line by line."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from typing import Any

from benchmarks import ONE_THREAD, ROOT


class Absent(Exception):
    """The program cannot be started here; the message says why."""


class Worker:
    """One process that answers as :mod:`benchmarks.peers.serve` says.

    Args:
        module: what it runs.
        python: its interpreter.
        patience: seconds in which it must be ready.
    """

    def __init__(self, module: str, python: str = sys.executable, patience: float = 120.0) -> None:
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        try:
            self.process = subprocess.Popen(
                [python, "-m", module],
                cwd=ROOT,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        except OSError as problem:
            raise Absent(str(problem)) from problem
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []  #: the last lines of its standard error
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._overhear, daemon=True).start()
        ready = self._reply(patience)
        if "ready" not in ready:
            self.close()
            raise Absent(str(ready.get("failed")))
        self.version = str(ready["ready"])

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The answer, or ``failed`` in words; beyond ``limit`` seconds the process is ended."""
        if self.process.poll() is not None:
            return {"failed": "the process has ended"}
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"failed": "the process has ended"}
        answer = self._reply(limit)
        if answer.get("stopped"):
            self.close()
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self.process.poll() is None

    def _reply(self, limit: float) -> dict[str, Any]:
        """The next line that is a JSON object; other lines are not for us."""
        while True:
            try:
                line = self.lines.get(timeout=limit)
            except queue.Empty:
                return {"failed": f"stopped after {limit:g} s", "stopped": True}
            if line is None:
                return {"failed": self.said[-1] if self.said else "the process has ended"}
            if line.startswith("{"):
                reply: dict[str, Any] = json.loads(line)
                return reply

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.lines.put(line)
        except ValueError:  # closed
            pass
        self.lines.put(None)

    def _overhear(self) -> None:
        assert self.process.stderr is not None
        try:
            for line in self.process.stderr:
                if line.strip():
                    self.said = [*self.said[-9:], line.strip()]
        except ValueError:  # closed
            pass
