"""A server on this machine that answers like Amazon SQS: ministack, started for as long as it is needed.

It is no part of qtune but an extra, and checks mechanics, not the service: it never throttles, hands out standard
queues in order and without duplicates, and counts exactly. What is measured on it says nothing of SQS's own times.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Final, Self

from qtune.errors import BrokerDown, InputError, Problem

LOOPBACK: Final = "127.0.0.1"
_STARTING_S: Final = 60.0
_STOPPING_S: Final = 5.0
_PORTS_TRIED: Final = 5

_MINISTACK: Final = """
import os, signal, threading
def end_with_the_starter():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end_with_the_starter, daemon=True).start()
from ministack.app import main
main()
"""
"""What the process runs: it ends when its standard input does, which even a killed starter closes."""


class SqsEmulator:
    """One ministack, reachable from this machine only.

        with SqsEmulator() as emulator:
            client = boto3.client("sqs", endpoint_url=emulator.endpoint_url, region_name="us-east-1")

    It takes any credentials. port: 0: a free one. Starting raises InputError when ministack is not installed or the
    port is in use, and BrokerDown when it ends or does not answer.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._wanted_port = port

    @property
    def endpoint_url(self) -> str:
        """What SDKs take."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it answers."""
        if find_spec("ministack") is None:
            message = "it is not installed: pip install 'qtune[sqs-emulator]'"
            raise InputError(Problem(where="emulator", value="ministack", message=message))
        for tries_left in reversed(range(1 if self._wanted_port else _PORTS_TRIED)):
            self.port = self._wanted_port or _free_port()
            if _listens(self.port):
                message = "something else listens there: use another port, or 0 for a free one"
                raise InputError(Problem(where="port", value=str(self.port), message=message))
            self._said = TemporaryFile()  # noqa: SIM115 (closed with the process)
            self._process = _started(self.port, self._said)
            if self._comes_up(self._process):
                break
            said = self._end()
            if not tries_left:
                text = f"the SQS emulator (ministack) did not start on port {self.port}"
                raise BrokerDown(f"{text}: {said or 'it said nothing'}; try another port")
        return self

    def _comes_up(self, process: subprocess.Popen[bytes]) -> bool:
        end_s = time.monotonic() + _STARTING_S
        while process.poll() is None and time.monotonic() < end_s:
            if _listens(self.port):
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        """End it, and all that its queues hold."""
        self._end()

    def _end(self) -> str:
        """End the process, if there is one; the last line that it wrote."""
        process, self._process = self._process, None
        if process is None or self._said is None:
            return ""
        process.terminate()
        try:
            process.wait(timeout=_STOPPING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        with self._said as said:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free_port() -> int:
    """A port that nobody has at this moment; another process may take it before ministack does."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _started(port: int, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Only SQS, and on the loopback interface only: by itself ministack listens on all, and on other ports too.

    -P keeps the modules of the folder that one happens to be in out of the server.
    """
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "SERVICES": "sqs",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "USE_SSL": "0",
        "LOG_LEVEL": "WARNING",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _MINISTACK],
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for whoever started it, who ends it then
    )
