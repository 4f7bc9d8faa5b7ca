"""How a generated session goes: which pieces an attacker says, in which order, at what times."""

from collections.abc import Callable
from random import Random

from producers.cowrie.synthetic.cast import Attacker, Cast, Piece, Script

Step = tuple[int, bytes, bytes, bytes]
"""A line to be: microseconds since 1970, and its pieces: the session's, the event's own up to the time, its end."""


class Session:
    """One session as it is being told. `pace` is in microseconds for a second of pause."""

    def __init__(self, *, name: bytes, attacker: Attacker, at: int, pace: float, random: Random) -> None:
        self.attacker = attacker
        self.steps: list[Step] = []
        self._random = random.random
        self._spread = 2 * pace
        self._clock = at
        self._port = 32_768 + random.getrandbits(14)
        self._bare = b'{"session":"%b%b%d,' % (name, attacker.origin, self._port)
        self._head = self._bare[:-1] + attacker.target
        self._name = name

    def say(self, piece: Piece) -> int:
        """Add one event, and return its time."""
        self._clock += int(piece.pause * self._spread * self._random())
        self.steps.append((self._clock, self._head, piece.own, piece.tail))
        return self._clock

    def say_of(self, piece: Piece) -> None:
        """Add one event whose piece names a destination of its own."""
        self._clock += int(piece.pause * self._spread * self._random())
        self.steps.append((self._clock, self._bare, piece.own, piece.tail))

    def say_lasting(self, piece: Piece, since: int) -> None:
        """Add one event that tells how long something took."""
        self._clock += int(piece.pause * self._spread * self._random())
        took = (self._clock - since) // 1000
        self.steps.append((self._clock, self._head, piece.own % took, piece.tail % took))

    def connect(self, piece: Piece) -> int:
        """Add the first event, and return its time."""
        who = self.attacker
        port = int(who.target.rpartition(b":")[2].rstrip(b","))
        said = f"New connection: {who.src_ip}:{self._port} ({who.dst_ip}:{port}) [session: {self._name.decode()}]"
        self.steps.append((self._clock, self._head, piece.own, piece.tail % said.encode()))
        return self._clock


def tell(session: Session, cast: Cast, random: Random) -> list[Step]:
    """Return the steps of a whole session."""
    began = session.connect(cast.connected)
    if session.attacker.protocol == "telnet":
        _telnet(session, cast, random)
    else:
        _BEHAVIOURS[random.getrandbits(5)](session, cast, random)
    session.say_lasting(cast.closed, began)
    return session.steps


def _fail(session: Session, cast: Cast, random: Random, most: int) -> None:
    for _ in range(int(random.random() * (most + 1))):
        session.say(cast.logins[random.getrandbits(12)].failed)


def _enter(session: Session, cast: Cast, random: Random) -> None:
    session.say(session.attacker.banner)
    session.say(session.attacker.kex)
    _fail(session, cast, random, 2)
    session.say(cast.logins[random.getrandbits(12)].succeeded)


def _run(session: Session, cast: Cast, random: Random, script: Script) -> None:
    opened = session.say(cast.params[int(random.random() * len(cast.params))])
    for piece in script.pieces:
        session.say(piece)
    session.say_lasting(script.closing, opened)


def _telnet(session: Session, cast: Cast, random: Random) -> None:
    _fail(session, cast, random, 4)
    if random.random() < 0.6:
        session.say(cast.logins[random.getrandbits(12)].succeeded)
        _run(session, cast, random, cast.telnets[int(random.random() * len(cast.telnets))])


def _scan(session: Session, cast: Cast, random: Random) -> None:
    if random.random() < 0.7:
        session.say(cast.scanners[random.getrandbits(2)])


def _guess(session: Session, cast: Cast, random: Random) -> None:
    session.say(session.attacker.banner)
    session.say(session.attacker.kex)
    _fail(session, cast, random, 5)


def _offer_key(session: Session, cast: Cast, random: Random) -> None:
    session.say(session.attacker.banner)
    session.say(session.attacker.kex)
    for piece in cast.keys[random.getrandbits(2)]:
        session.say(piece)


def _execute(session: Session, cast: Cast, random: Random) -> None:
    _enter(session, cast, random)
    for _ in range(1 + int(random.random() * 2)):
        _run(session, cast, random, cast.shells[random.getrandbits(12)])


def _explore(session: Session, cast: Cast, random: Random) -> None:
    _enter(session, cast, random)
    session.say(cast.size)
    _run(session, cast, random, cast.shells[random.getrandbits(12)])


def _install(session: Session, cast: Cast, random: Random) -> None:
    _enter(session, cast, random)
    session.say(cast.uploads[int(random.random() * len(cast.uploads))])
    scripts = cast.installers if random.random() < 0.2 else cast.shells
    _run(session, cast, random, scripts[int(random.random() * len(scripts))])


def _tunnel(session: Session, cast: Cast, random: Random) -> None:
    _enter(session, cast, random)
    for _ in range(1 + int(random.random() * 4)):
        for piece in cast.tunnels[int(random.random() * len(cast.tunnels))]:
            session.say_of(piece)


_BEHAVIOURS: tuple[Callable[[Session, Cast, Random], None], ...] = (
    *[_scan] * 3,
    *[_guess] * 6,
    *[_offer_key] * 2,
    *[_execute] * 12,
    *[_explore] * 4,
    *[_install] * 3,
    *[_tunnel] * 2,
)
