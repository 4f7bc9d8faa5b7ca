"""People on a PDS: accounts that write, change and delete, rename and deactivate themselves, without a pause."""

import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.live.hosts import Pds

POST, LIKE, THING = "app.bsky.feed.post", "app.bsky.feed.like", "com.example.thing"
_AWAY_SECONDS = 60.0


class Refused(Exception):
    """The PDS answered with an error."""


class Account:
    """One account, and the keys of its records as far as they are known to exist."""

    def __init__(self, did: str, token: str) -> None:
        self.did, self.token = did, token
        self.posts: list[str] = []
        self.things = 0


class People:
    """Writes to a PDS from one thread until it is stopped; while the PDS is away it waits. `writes` counts."""

    def __init__(self, pds: Pds, *, seed: int) -> None:
        self._pds, self._random = pds, random.Random(seed)
        self.accounts: list[Account] = []
        self.deleted: list[str] = []
        self.writes = 0
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="people")

    def join(self, number: int) -> None:
        """Make `number` accounts more."""
        for _ in range(number):
            name = f"{self._random.choice('abcdefgh')}{self._random.randrange(10**8)}"
            made = self.call(
                "com.atproto.server.createAccount",
                {"email": f"{name}@example.test", "handle": f"{name}.test", "password": "secret"},
            )
            self.accounts.append(Account(made["did"], f"Bearer {made['accessJwt']}"))

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and raise what went wrong meanwhile."""
        self._stopped.set()
        self._thread.join()
        if self._error:
            raise self._error

    def remove(self, account: Account) -> None:
        """Delete an account for good, as an administrator does."""
        self.call("com.atproto.admin.deleteAccount", {"did": account.did}, self._pds.admin)
        self.accounts.remove(account)
        self.deleted.append(account.did)

    def get(self, method: str, **query: str) -> bytes:
        """Return what the PDS answers. Raises Refused."""
        return _ask(f"{self._pds.url}/xrpc/{method}?{urllib.parse.urlencode(query)}", None, {})

    def call(self, method: str, body: object = None, token: str = "") -> Any:
        """Post `body` and return the answer; waits while the PDS is away. Raises Refused."""
        deadline = time.monotonic() + _AWAY_SECONDS
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": token} if token else {}
        headers |= {"content-type": "application/json"} if data else {}
        while True:
            try:
                answer = _ask(f"{self._pds.url}/xrpc/{method}", data, headers)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                self._stopped.wait(0.2)
            else:
                self.writes += 1
                return json.loads(answer) if answer else None

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._random.choice(self._deeds())(self._random.choice(self.accounts))
        except BaseException as error:  # noqa: BLE001 - `stop` raises it
            self._error = error

    def _deeds(self) -> Sequence[Callable[[Account], None]]:
        return [self._post] * 8 + [self._edit] * 3 + [self._delete] * 3 + [self._many] * 2 + [self._rename, self._leave]

    def _post(self, account: Account) -> None:
        record = {"$type": POST, "text": f"hëllo {self.writes} \U0001f98b", "createdAt": _now(), "langs": ["en"]}
        made = self._repo("createRecord", account, {"collection": POST, "record": record})
        if made:
            account.posts.append(made["uri"].rpartition("/")[2])

    def _edit(self, account: Account) -> None:
        if account.posts:
            record = {"$type": POST, "text": f"edited {self.writes}", "createdAt": _now()}
            where = {"collection": POST, "rkey": self._random.choice(account.posts)}
            self._repo("putRecord", account, {**where, "record": record})

    def _delete(self, account: Account) -> None:
        if account.posts:
            rkey = account.posts.pop(self._random.randrange(len(account.posts)))
            self._repo("deleteRecord", account, {"collection": POST, "rkey": rkey})

    def _many(self, account: Account) -> None:
        """Write a commit with many operations, of a lexicon that nobody knows, with bytes in it."""
        first = account.things
        account.things += 20
        writes = [
            {
                "$type": "com.atproto.repo.applyWrites#create",
                "collection": THING,
                "rkey": f"k{number:06d}",
                "value": {"$type": THING, "n": number, "raw": {"$bytes": "AQIDBA"}, "nil": None},
            }
            for number in range(first, account.things)
        ]
        gone = range(max(first - 10, 0), first)
        writes += [
            {"$type": "com.atproto.repo.applyWrites#delete", "collection": THING, "rkey": f"k{number:06d}"}
            for number in gone
        ]
        if not self._repo("applyWrites", account, {"validate": False, "writes": writes}):
            account.things = first

    def _rename(self, account: Account) -> None:
        handle = f"r{self._random.randrange(10**8)}.test"
        self._try("com.atproto.identity.updateHandle", {"handle": handle}, account.token)

    def _leave(self, account: Account) -> None:
        """Deactivate an account, and come back at once."""
        self._try("com.atproto.server.deactivateAccount", {}, account.token)
        self.call("com.atproto.server.activateAccount", None, account.token)

    def _repo(self, verb: str, account: Account, body: dict[str, object]) -> Any:
        return self._try(f"com.atproto.repo.{verb}", {"repo": account.did, **body}, account.token)

    def _try(self, method: str, body: object, token: str) -> Any:
        """Call; where the PDS was killed after it had written, the same write again may be refused: then None."""
        try:
            return self.call(method, body, token)
        except Refused:
            return None


def _ask(url: str, data: bytes | None, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise Refused(f"{url}: {error.code} {error.read()[:300]!r}") from error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
