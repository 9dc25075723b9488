"""The session's end of a worker: requests with a time limit, and what its death means.

No threads: between requests a worker has nothing to say, so its pipes are read only within one.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import psutil

from benchctl.measure.clock import Clock
from benchctl.measure.protocol import (
    INTERPRETER,
    ArmFailure,
    Message,
    ProtocolError,
    decode,
    encode,
    result_of,
)
from benchctl.measure.worker import WorkerService, find_engine

ARGUMENTS = ("-P", "-X", "faulthandler", "-m", "benchctl.measure.worker")

_READ_BYTES = 1 << 16
_TAIL_BYTES = 4096
_TAIL_LINES = 12
_LINES_BEFORE_REPORT = 3
_CRASH_REPORT = "Fatal Python error"
_EXIT_SECONDS = 5.0
_MEMORY_HINT = "the system ends processes so when memory runs out; choose a smaller size or batch"
_SHORTEST_LOOK_SECONDS = 0.5
_LOOKS = 20
"""Into how many looks a wait is cut; each wakes this process beside what it measures."""
_TIMEOUT_HINT = "--timeout 20m waits longer; or leave this engine out"


class Worker(Protocol):
    """One process that measures one arm."""

    def post(self, op: str, timeout_seconds: float, **fields: Any) -> None:
        """Send a request; its answer must be taken before the next."""

    def wait(self) -> Message:
        """The result of the request sent last; raises `ArmFailure`."""

    def suspend(self) -> None:
        """Stop all of its threads until `resume`."""

    def resume(self) -> None:
        """Let its threads run again."""

    def stop(self, timeout_seconds: float) -> None:
        """End it, by force after `timeout_seconds`."""

    def kill(self) -> None:
        """End it now."""


Launch = Callable[[Mapping[str, str]], Worker]
"""Starts a worker with the given environment."""


def request(worker: Worker, op: str, timeout_seconds: float, **fields: Any) -> Message:
    """Send a request and wait for its result; raises `ArmFailure`."""
    worker.post(op, timeout_seconds, **fields)
    return worker.wait()


class ProcessWorker:
    """A worker in a process of its own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # A process group of its own keeps the terminal's Ctrl-C from it. It stays in the session,
        # so that the kernel ends a suspended worker (SIGHUP) should this process be killed.
        self._process = subprocess.Popen(
            (environment.get(INTERPRETER, sys.executable), *ARGUMENTS),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            process_group=0,
            bufsize=0,
        )
        self._suspended = False
        self._doing = "start"
        self._timeout_seconds = 0.0
        self._deadline = 0.0
        self._looked = 0.0
        self._answers = b""
        self._errors = b""
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def post(self, op: str, timeout_seconds: float, **fields: Any) -> None:
        """Send a request; its answer must be taken before the next."""
        self._doing = op.replace("_", " ")
        self._timeout_seconds = timeout_seconds
        self._looked = time.monotonic()
        self._deadline = self._looked + timeout_seconds
        assert self._process.stdin is not None
        # A worker that has died is found out by `wait`, which knows more about it.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(encode({"op": op, **fields}))

    def wait(self) -> Message:
        """The result of the request sent last; raises `ArmFailure` and ends the worker."""
        try:
            while True:
                answer = decode(self._next_line())
                if "doing" not in answer:
                    return result_of(answer)
                self._doing = str(answer["doing"])
        except ProtocolError as error:
            self.kill()
            raise ArmFailure(
                "crashed", f"unreadable answer during {self._doing}: {error}"
            ) from None
        except ArmFailure:
            self.kill()
            raise

    def suspend(self) -> None:
        """Stop all of its threads until `resume`."""
        if not self._suspended and self._process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self.pid).suspend()
            self._suspended = True

    def resume(self) -> None:
        """Let its threads run again."""
        if self._suspended:
            self._suspended = False
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self.pid).resume()

    def stop(self, timeout_seconds: float) -> None:
        """End it, by force after `timeout_seconds`."""
        if self._process.poll() is None:
            self.resume()
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(encode({"op": "quit"}))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End it now; SIGKILL reaches a suspended process too."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _next_line(self) -> bytes:
        """The next line of the protocol, read along with what is printed meanwhile."""
        while b"\n" not in self._answers:
            self._allow_for_standing_still(0.0)
            left_seconds = max(0.0, self._deadline - self._looked)
            look_seconds = max(_SHORTEST_LOOK_SECONDS, self._timeout_seconds / _LOOKS)
            asked_seconds = min(left_seconds, look_seconds)
            ready = self._selector.select(asked_seconds)
            if not ready and left_seconds == 0.0:
                raise self._timeout()
            self._allow_for_standing_still(asked_seconds)
            for key, _ in ready:
                self._read(key)
        line, _, self._answers = self._answers.partition(b"\n")
        return line

    def _allow_for_standing_still(self, asked_seconds: float) -> None:
        """Put the deadline off by what has passed since the last look, beyond what was asked for.

        Looking takes no longer than that unless this process stood still itself, stopped or on a
        machine asleep; then the worker has most likely stood still, too.
        """
        now = time.monotonic()
        stood_still = now - self._looked - asked_seconds
        if stood_still > _SHORTEST_LOOK_SECONDS:
            self._deadline += stood_still
        self._looked = now

    def _read(self, key: selectors.SelectorKey) -> None:
        block = os.read(key.fd, _READ_BYTES)
        if key.fileobj is self._process.stderr:
            self._errors = (self._errors + block)[-_TAIL_BYTES:]
            if not block:
                self._selector.unregister(key.fileobj)
        elif block:
            self._answers += block
        else:
            raise self._death()

    def _timeout(self) -> ArmFailure:
        return ArmFailure(
            "timeout",
            f"no answer within {self._timeout_seconds:g} s during {self._doing}",
            _TIMEOUT_HINT,
            self._printed(),
        )

    def _death(self) -> ArmFailure:
        """Why the pipe of answers ended."""
        try:
            status = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return ArmFailure(
                "crashed",
                f"the worker closed its pipe during {self._doing} without a result",
                notes=self._printed(),
            )
        hint = _MEMORY_HINT if status == -signal.SIGKILL else ""
        return ArmFailure(
            "crashed",
            f"the worker {describe_exit(status)} during {self._doing}, without a result",
            hint,
            self._printed(),
        )

    def _printed(self) -> tuple[str, ...]:
        """The last lines that the worker printed."""
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while block := os.read(self._process.stderr.fileno(), _READ_BYTES):
                self._errors = (self._errors + block)[-_TAIL_BYTES:]
        return tail_lines(self._errors.decode(errors="replace"))


def tail_lines(text: str) -> tuple[str, ...]:
    """The lines of a dead worker's output that say most: the crash report's head, else the end."""
    lines = [line for line in text.splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line.startswith(_CRASH_REPORT):
            begin = max(0, index - _LINES_BEFORE_REPORT)
            return tuple(lines[begin : begin + _TAIL_LINES])
    return tuple(lines[-_TAIL_LINES:])


def describe_exit(status: int) -> str:
    """How a process ended: by a signal, or with an exit status."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


class LocalWorker:
    """A worker in this very process, for tests under a virtual clock.

    It cannot be suspended, nor survive an engine that crashes.
    """

    def __init__(self, clock: Clock, find: Callable[[str], Any] = find_engine) -> None:
        self._service = WorkerService(clock, find=find)
        self._answer: Message = {}
        self.suspended = False

    def post(self, op: str, timeout_seconds: float, **fields: Any) -> None:
        """Answer the request at once, as one that has travelled would look."""
        assert not self.suspended, "a suspended worker got a request"
        sent = decode(encode({"op": op, **fields}))
        self._answer = decode(encode(self._service.answer(sent)))

    def wait(self) -> Message:
        """The result of the request sent last; raises `ArmFailure`."""
        return result_of(self._answer)

    def suspend(self) -> None:
        """Take no requests until `resume`."""
        self.suspended = True

    def resume(self) -> None:
        """Take requests again."""
        self.suspended = False

    def stop(self, timeout_seconds: float) -> None:
        """Release what the engine holds."""
        self._service.close()

    def kill(self) -> None:
        """Release what the engine holds."""
        self._service.close()
