"""The pieces that generated lines are put together from, rendered once for a log, and who says them.

A line is: head of the session, the event's own fields up to the time, the time, and its end with the message.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, NamedTuple, TypeVar

from producers.cowrie.synthetic import repertoire

T = TypeVar("T")

ATTACKERS = 640
SCRIPTS = 384
_TABLE_BITS = 12
_DST_PORTS = {"ssh": 2222, "telnet": 2223}


class Piece(NamedTuple):
    """An event without its session and time. `pause` is what mostly passes before it, in seconds.

    In a piece that tells how long something took, `own` and `tail` each hold `%d` for the milliseconds.
    """

    pause: float
    own: bytes
    tail: bytes


class Attacker(NamedTuple):
    """A source address with its client. `origin` stands between a line's session and port, `target` after the port."""

    protocol: str
    src_ip: str
    dst_ip: str
    origin: bytes
    target: bytes
    banner: Piece
    kex: Piece


class Script(NamedTuple):
    """What one terminal session does, and its end."""

    pieces: tuple[Piece, ...]
    closing: Piece


class Login(NamedTuple):
    """One pair of credentials, tried with either outcome."""

    failed: Piece
    succeeded: Piece


class Cast:
    """All pieces and attackers of one log. Tables are Zipf-like: draw from them with `getrandbits(12)`."""

    def __init__(self, *, random: Random, sensor: str) -> None:
        self._sensor = sensor
        self._uuid = str(uuid.UUID(int=random.getrandbits(128), version=1))
        self.closed = self._timed("cowrie.session.closed", {}, "Connection lost after %d milliseconds", pause=0.4)
        self.connected = self.piece("cowrie.session.connect", {}, "%s")
        self.size = self.piece("cowrie.client.size", {"width": 80, "height": 24}, "Terminal Size: 80 24", pause=0.1)
        self.scanners = [self._banner(version) for version in repertoire.SCANNER_BANNERS]
        self.params = [
            self.piece("cowrie.session.params", {"arch": a}, "", pause=0.2) for a in repertoire.ARCHITECTURES
        ]
        self.attackers = zipf_table(list(self._attackers(random)))
        self.logins = zipf_table(list(self._logins(random)))
        self.keys = [self._key_attempt(name) for name in repertoire.USERNAMES[:4]]
        self.shells = zipf_table([self._script(self._shell_commands(rank, random)) for rank in range(SCRIPTS)])
        self.telnets = [self._script(self._telnet_commands(random)) for _ in range(SCRIPTS // 4)]
        self.installers = [self._script(self._long_script(random)) for _ in range(16)]
        self.uploads = [self._upload(name, random) for name in repertoire.UPLOADS for _ in range(8)]
        self.tunnels = [self._tunnel(*target) for target in repertoire.TUNNEL_TARGETS]

    def piece(self, eventid: str, own: dict[str, Any], message: str, *, pause: float = 0.0) -> Piece:
        """Return the piece of one event."""
        fields = {**own, "eventid": eventid, "sensor": self._sensor, "uuid": self._uuid}
        return Piece(pause, _json(fields)[1:-1] + b',"timestamp":"', b'","message":' + _json(message) + b"}\n")

    def _timed(self, eventid: str, own: dict[str, Any], message: str, *, pause: float) -> Piece:
        own_bytes = self.piece(eventid, {**own, "duration_ms": 0}, message, pause=pause).own.replace(b"%", b"%%")
        tail = self.piece(eventid, {}, message).tail
        return Piece(pause, own_bytes.replace(b'"duration_ms":0', b'"duration_ms":%d'), tail)

    def _banner(self, version: str) -> Piece:
        return self.piece("cowrie.client.version", {"version": version}, f"Remote SSH version: {version}", pause=0.2)

    def _attackers(self, random: Random) -> Iterable[Attacker]:
        nets = ("192.0.2.", "198.51.100.", "203.0.113.")
        v4 = [f"{net}{host}" for net in nets for host in range(10, 250)]
        addresses = random.sample(v4, ATTACKERS - 64) + [
            f"2001:db8:{random.getrandbits(16):x}::{n:x}" for n in range(1, 65)
        ]
        random.shuffle(addresses)
        clients = [(self._banner(client.version), self._kex(client)) for client in repertoire.CLIENTS]
        for rank, src in enumerate(addresses):
            protocol = "telnet" if rank % 5 == 3 else "ssh"
            dst = "2001:db8::2" if ":" in src else "192.0.2.2"
            origin = b'","protocol":"%b","src_ip":"%b","src_port":' % (protocol.encode(), src.encode())
            target = b',"dst_ip":"%b","dst_port":%d,' % (dst.encode(), _DST_PORTS[protocol])
            yield Attacker(protocol, src, dst, origin, target, *clients[int(random.random() * len(clients))])

    def _kex(self, client: repertoire.Client) -> Piece:
        offered = ";".join(",".join(names) for names in (client.kex, client.ciphers, client.macs, client.compression))
        hassh = hashlib.md5(offered.encode(), usedforsecurity=False).hexdigest()
        own = {
            "hassh": hassh,
            "hasshAlgorithms": offered,
            "kexAlgs": client.kex,
            "keyAlgs": client.keys,
            "encCS": client.ciphers,
            "macCS": client.macs,
            "compCS": client.compression,
            "langCS": [""],
        }
        return self.piece("cowrie.client.kex", own, f"SSH client hassh fingerprint: {hassh}", pause=0.1)

    def _logins(self, random: Random) -> Iterable[Login]:
        pairs = [(name, password) for name in repertoire.USERNAMES for password in repertoire.PASSWORDS]
        ranks = {
            pair: (i // len(repertoire.PASSWORDS) + i % len(repertoire.PASSWORDS), random.random())
            for i, pair in enumerate(pairs)
        }
        for name, password in sorted(pairs, key=ranks.__getitem__):
            own = {"username": name, "password": password}
            said = f"login attempt [{name}/{password}]"
            yield Login(
                self.piece("cowrie.login.failed", own, f"{said} failed", pause=1.2),
                self.piece("cowrie.login.success", own, f"{said} succeeded", pause=1.2),
            )

    def _key_attempt(self, name: str) -> tuple[Piece, Piece]:
        key = repertoire.KEY.rpartition(" ")[0]
        digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
        print_ = digest.hex(":")
        own = {"username": name, "fingerprint": print_, "key": key, "type": "ssh-rsa"}
        seen = f"public key attempt for user {name} of type ssh-rsa with fingerprint {print_}"
        return (
            self.piece("cowrie.client.fingerprint", own, seen, pause=0.5),
            self.piece("cowrie.login.failed", own, f"public key login attempt for [{name}] failed", pause=0.01),
        )

    def _command(self, text: str) -> list[Piece]:
        own = {"input": text}
        said = [self.piece("cowrie.command.input", own, f"CMD: {text}", pause=0.8)]
        if text in repertoire.UNKNOWN_COMMANDS:
            said.append(self.piece("cowrie.command.failed", own, f"Command not found: {text}", pause=0.001))
        if text.startswith("echo -e") and "passwd" in text:
            own = {"realm": "passwd", "username": "root"}
            said.append(self.piece("cowrie.command.chpasswd", own, "Password change attempt for root", pause=0.01))
        return said

    def _fetch(self, random: Random) -> list[Piece]:
        file = _pick(repertoire.DROP_FILES, random)
        url = f"http://{_pick(repertoire.DROP_HOSTS, random)}/{file}"
        said = self._command(_pick(repertoire.FETCHES, random).format(url=url, file=file, tag=_tag(random)))
        if random.random() < 0.3:
            failure = f"Attempt to download file(s) from URL ({url}) failed"
            return [*said, self.piece("cowrie.session.file_download.failed", {"url": url}, failure, pause=2.0)]
        shasum = _digest(url)
        own = {"url": url, "outfile": f"var/lib/cowrie/downloads/{shasum}", "shasum": shasum}
        message = f"Downloaded URL ({url}) with SHA-256 {shasum} to {own['outfile']}"
        return [*said, self.piece("cowrie.session.file_download", own, message, pause=2.0)]

    def _shell_commands(self, rank: int, random: Random) -> list[Piece]:
        first = int(random.random() * len(repertoire.COMMANDS))
        texts = (repertoire.COMMANDS * 2)[first : first + (1, 3, 1, 2)[rank % 4]]
        said = [piece for text in texts for piece in self._command(text)]
        return said + self._fetch(random) if rank % 4 == 2 else said

    def _telnet_commands(self, random: Random) -> list[Piece]:
        tag = _tag(random).upper()
        texts = repertoire.TELNET_COMMANDS[: 3 + int(random.random() * 5)]
        said = [piece for text in texts for piece in self._command(text.format(tag=tag))]
        return said + self._fetch(random) if random.random() < 0.4 else said

    def _long_script(self, random: Random) -> list[Piece]:
        tag = _tag(random)
        url = f"http://{_pick(repertoire.DROP_HOSTS, random)}/{_pick(repertoire.DROP_FILES, random)}"
        lines = [line.format(tag=f"{tag}{i}", url=url) for i in range(6) for line in repertoire.LONG_SCRIPT_LINES]
        return self._command("\n".join(lines))

    def _script(self, pieces: list[Piece]) -> Script:
        content = b"".join(piece.tail for piece in pieces)
        shasum = hashlib.sha256(content).hexdigest()
        log = f"var/lib/cowrie/tty/{shasum}"
        own = {"ttylog": log, "size": len(content), "shasum": shasum, "duplicate": True}
        message = f"Closing TTY Log: {log} after %d milliseconds"
        return Script(tuple(pieces), self._timed("cowrie.log.closed", own, message, pause=0.3))

    def _upload(self, name: str, random: Random) -> Piece:
        shasum = _digest(name + _tag(random))
        own = {"filename": name, "outfile": f"var/lib/cowrie/downloads/{shasum}", "shasum": shasum}
        return self.piece(
            "cowrie.session.file_upload", own, f'SFTP Uploaded file "{name}" to {own["outfile"]}', pause=1.5
        )

    def _tunnel(self, host: str, port: int) -> tuple[Piece, ...]:
        own: dict[str, Any] = {"dst_ip": host, "dst_port": port}
        asked = {**own, "orig_ip": "", "orig_port": 0}
        to = f"{host}:{port}"
        said = [
            self.piece(
                "cowrie.direct-tcpip.request", asked, f"direct-tcp connection request to {to} from :0", pause=0.6
            )
        ]
        data = repr(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the beginning of a TLS handshake
        if port == 80:
            data = repr(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            ja4h = f"ge11nn010000_{_digest(host)[:12]}_000000000000_000000000000"
            message = f"JA4H fingerprint for forwarded HTTP to {to}: {ja4h}"
            said.append(self.piece("cowrie.direct-tcpip.ja4h", {**own, "ja4h": ja4h}, message, pause=0.1))
        message = f"discarded direct-tcp forward request 0 to {to} with data {data}"
        said.append(self.piece("cowrie.direct-tcpip.data", {**own, "data": data, "id": 0}, message, pause=0.01))
        return tuple(said)


def zipf_table(ranked: Sequence[T]) -> list[T]:
    """Return a table of 4,096 places in which the n-th of `ranked` stands about 1/n as often as the first."""
    total = sum(1 / rank for rank in range(1, len(ranked) + 1))
    size = 1 << _TABLE_BITS
    table: list[T] = []
    reached = 0.0
    for rank, item in enumerate(ranked, 1):
        reached += size / rank / total
        table += [item] * max(0, round(reached) - len(table))
    return table


def _json(value: object) -> bytes:
    """Encode as Cowrie does: no blanks, ASCII only."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _tag(random: Random) -> str:
    return f"{random.getrandbits(20):05x}"


def _pick(items: Sequence[T], random: Random) -> T:
    return items[int(random.random() * len(items))]
