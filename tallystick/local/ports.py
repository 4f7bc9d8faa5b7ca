"""TCP ports on the loopback address: chosen once, kept in a file, chosen anew only where a stranger has taken one."""

import random
import socket
from pathlib import Path

import msgspec

from tallystick.errors import ServiceError
from tallystick.local import files

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the ports that Linux and macOS hand out to outgoing connections, so that those don't take a kept one."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Tell whether someone takes connections on `port` of the loopback address."""
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def choose(*, taken: set[int]) -> int:
    """Return a free port outside `taken`. Raises ServiceError if there is none."""
    for port in random.sample(RANGE, k=len(RANGE)):
        if port not in taken and is_free(port):
            return port
    raise ServiceError(f"no port from {RANGE.start} to {RANGE.stop - 1} is free on {HOST}: end what listens there")


def kept(path: Path) -> dict[str, int]:
    """Return the ports that were written to `path`, by name; none if the file is not there or not whole."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def keep(path: Path, *names: str) -> dict[str, int]:
    """Return a free port for each of `names`, the one kept in `path` wherever it is free, and keep them in `path`.

    Call it only while the server that uses them is stopped. Raises ServiceError if no port is free.
    """
    before = kept(path)
    ports: dict[str, int] = {}
    for name in names:
        port = before.get(name)
        usable = port is not None and port not in ports.values() and is_free(port)
        ports[name] = port if port is not None and usable else choose(taken={*before.values(), *ports.values()})
    if ports != before:
        files.replace(path, msgspec.json.encode(ports))
    return ports
