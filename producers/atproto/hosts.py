"""Hosts by what people write: `bsky.network`, `wss://bsky.network`, `http://127.0.0.1:2583`."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import msgspec

from tallystick.contracts.text import printable
from tallystick.errors import UsageError

_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")


class Host(msgspec.Struct, frozen=True):
    """A host of AT Protocol. `name` is its name in lower case, with its port where that is not the scheme's own: what
    labels, topics and ids of sources have. `http` and `websocket` are what paths (`/xrpc/…`) are appended to.
    """

    name: str
    http: str
    websocket: str


def host_of(text: str) -> Host:
    """Return the host that is meant by a name, or by a URL of ws, wss, http or https without path. A bare name, with or
    without a port, is one that speaks TLS.

    Raises UsageError.
    """
    if not text.isprintable():  # `urlsplit` would leave line ends out
        raise _unusable(text, "that is no host's name")
    try:
        parts = urlsplit(text if "://" in text else f"wss://{text}")
        port, given = parts.port, parts.hostname or ""
    except ValueError as error:
        raise _unusable(text, str(error)) from error
    if (secure := _SECURE.get(parts.scheme)) is None:
        raise _unusable(text, "the scheme is one of wss, https, ws, http")
    if parts.username is not None or parts.password is not None:
        raise _unusable(text.rpartition("@")[2], "a host needs no user and no password")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _unusable(text, "give the host alone, without a path; the path is the protocol's")
    if port == 0:
        raise _unusable(text, "no port has the number 0")
    name = _name(text, given)
    if port is not None and port != (443 if secure else 80):
        name = f"{name}:{port}"
    return Host(name, f"{'https' if secure else 'http'}://{name}", f"{'wss' if secure else 'ws'}://{name}")


def _name(text: str, given: str) -> str:
    if ":" in given and "%" not in given:
        try:
            return f"[{IPv6Address(given).compressed}]"
        except ValueError as error:
            raise _unusable(text, str(error)) from error
    name = given.removesuffix(".")
    if not _NAME.fullmatch(name):
        raise _unusable(text, "that is no host's name; of an international one give the form with xn--")
    return name


def _unusable(text: str, why: str) -> UsageError:
    shown = ascii(printable(text[:200]))
    return UsageError(
        f"no host: {shown}: {why}; give a name such as bsky.network, or a URL such as ws://127.0.0.1:2583"
    )
