"""A host that makes commits as fast as it is read: `python -m tests.synthetic_host COMMITS ACCOUNTS`.

In its own process, so that its work is not counted for the one that is measured. Prints its port; serves the stream at
/xrpc/com.atproto.sync.subscribeRepos and the identities of its accounts at /DID.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator

from aiohttp import web

from producers.atproto.protocol.cids import Cid
from tests.atproto_hosts import document
from tests.atproto_world import Repository, frame

RECORDS = 12
"""So many records an account has at most: then it changes one of them, or deletes it."""


class Person:
    """An account whose repository stays small."""

    def __init__(self, number: int, start_us: int) -> None:
        self.repository = Repository(f"p{number:06d}", start_us=start_us)
        self._keys = [f"app.bsky.feed.post/3k{number:06d}{key:05d}" for key in range(RECORDS)]

    def act(self, chance: random.Random) -> dict[str, object]:
        """Write, change or delete a record; return the body of the `#commit`."""
        path = chance.choice(self._keys)
        there = path in self.repository.records
        record = {
            "$type": "app.bsky.feed.post",
            "text": chance.randbytes(80).hex(),
            "createdAt": "2026-01-01T00:00:00Z",
        }
        body = self.repository.commit({path: None if there and chance.random() < 0.3 else record})
        self.repository.blocks.clear()
        return body


class Host:
    """Makes `commits` commits by `accounts` accounts, once, for one reader."""

    def __init__(self, commits: int, accounts: int) -> None:
        self._commits = commits
        start = int(time.time() * 1_000_000) - 24 * 3600 * 1_000_000
        self._people = [Person(number, start) for number in range(accounts)]
        self._made = iter(self._make())
        self.last: bytes | None = None

    def _make(self) -> Iterator[bytes]:
        chance = random.Random(1)
        for seq in range(1, self._commits + 1):
            body = chance.choice(self._people).act(chance)
            yield frame("#commit", {**body, "seq": seq, "time": _now()})

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """Send what comes next, as fast as it is taken; at the end stay silent."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        for number, made in enumerate(self._made):
            await socket.send_bytes(made)
            if number % 64 == 0:
                await asyncio.sleep(0)
        async for _ in socket:
            pass
        return socket

    async def identity(self, request: web.Request) -> web.Response:
        """Return the DID document of an account."""
        did = request.match_info["did"]
        person = self._people[int(did.removeprefix("did:plc:p"))]
        return web.json_response(document(did, person.repository.key.did_key(), "http://127.0.0.1:1"))

    def roots(self) -> dict[str, Cid | None]:
        """Return the root of each account's tree."""
        return {person.repository.did: person.repository.data for person in self._people}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


async def _serve(commits: int, accounts: int) -> None:
    host = Host(commits, accounts)
    app = web.Application()
    app.router.add_get("/xrpc/com.atproto.sync.subscribeRepos", host.stream)
    app.router.add_get("/{did}", host.identity)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*map(int, sys.argv[1:3])))
