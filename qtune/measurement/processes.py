"""The processes of a measured run, as their parent sees them: started together, stopped, and killed when asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Final, Protocol

import psutil

from qtune.errors import ProviderFailure
from qtune.measurement.logs import clock_s
from qtune.measurement.process import CLOCK, READY, Task, pack

READY_WITHIN_S: Final = 60.0
PINGS: Final = 5


class Process(Protocol):
    """One consumer or producer process, or what stands for it."""

    task: Task

    def wait_until_ready(self) -> None:
        """Return when its connections are open; ProviderFailure when they cannot be opened."""

    def clock_error_s(self) -> float:
        """By how much its clock may differ from this process's."""

    def start(self, start_s: float) -> None:
        """Let it work from an instant of the machine's clock on."""

    def stop(self) -> None:
        """Tell it to come to an end."""

    def kill(self) -> None:
        """End it at once, whatever it does."""

    def ended(self, within_s: float) -> bool:
        """Whether it ends within so long."""

    def core_s(self) -> float:
        """Processor time that it has used; NaN when that is not its own."""

    def failure(self) -> str | None:
        """Why it ended although it was neither stopped nor killed; None: it did not."""


class OwnProcess:
    """A process of its own, whose connections are its own."""

    def __init__(self, task: Task) -> None:
        self.task, self._killed = task, False
        self._errors = (task.folder / f"errors.{task.kind}{task.number}").open("w+b")
        command = [sys.executable, "-m", "qtune.measurement.process"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._say(pack(task))

    def wait_until_ready(self) -> None:
        """Return when its connections are open."""
        deadline = threading.Timer(READY_WITHIN_S, self._child.kill)
        deadline.start()
        assert self._child.stdout is not None
        word = self._child.stdout.readline().decode().strip()
        deadline.cancel()
        if word != READY:
            self._child.wait()
            raise ProviderFailure(f"{self.task.name} did not begin: {self._last_words()}")

    def clock_error_s(self) -> float:
        """The shortest of some questions for its instant: it lies between asking and answering, or is off by that."""
        assert self._child.stdout is not None
        errors_s: list[float] = []
        for _ in range(PINGS):
            asked_s = clock_s()
            self._say(CLOCK)
            its_s = float(self._child.stdout.readline())
            answered_s = clock_s()
            errors_s.append(max(its_s - asked_s, answered_s - its_s))
        return min(errors_s)

    def start(self, start_s: float) -> None:
        """Let it work from an instant of the machine's clock on."""
        self._say(f"start {start_s!r}\n".encode())

    def stop(self) -> None:
        """Tell it to come to an end."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._say(b"stop\n")

    def kill(self) -> None:
        """SIGKILL: what it has written is in its files all the same."""
        self._killed = True
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._errors):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def ended(self, within_s: float) -> bool:
        """Whether it ends within so long."""
        try:
            self._child.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def core_s(self) -> float:
        """Processor time that it has used."""
        try:
            times = psutil.Process(self._child.pid).cpu_times()
        except psutil.NoSuchProcess:
            return float("nan")
        return float(times.user + times.system)

    def failure(self) -> str | None:
        """Its last words, if it ended by itself with any."""
        return self._last_words() if self._child.poll() not in (None, 0) and not self._killed else None

    def _say(self, words: bytes) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(words)
            self._child.stdin.flush()
        except BrokenPipeError:
            return  # it has ended, which is seen elsewhere

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with {self._child.returncode}"


class ThreadsInstead:
    """A consumer or producer inside this process, because its queue is in this process's memory."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._running = task.begin()
        self._thread: threading.Thread | None = None

    def wait_until_ready(self) -> None:
        """It is, once it has been made."""

    def clock_error_s(self) -> float:
        """It is this process."""
        return 0.0

    def start(self, start_s: float) -> None:
        """Let it work from an instant of the machine's clock on."""
        self._thread = threading.Thread(target=self._running.run, args=(start_s,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell it to come to an end."""
        self._running.stop()

    def kill(self) -> None:
        """Threads cannot be killed: they come to an end, and nobody waits for them."""
        self._running.stop()

    def ended(self, within_s: float) -> bool:
        """Whether it ends within so long."""
        if self._thread is None:
            return True
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def core_s(self) -> float:
        """It shares this process's time with the rest of it."""
        return float("nan")

    def failure(self) -> str | None:
        """What its threads say."""
        return self._running.failure
