"""A real HTTP server on loopback that is a directory of `did:plc` and a host of accounts, as honest as a test wants."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from producers.atproto.protocol.cids import cid_text
from tests.atproto_world import Repository

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class World:
    """A directory and a host at one address. Change its fields at any time; they say what is answered next.

    `repositories` are CARs by DID, `documents` those of the directory. `answers` come first: by DID, or by the name of
    the method for all. `asked` counts requests by method and DID, `most_at_once` are the most repositories that were
    under way; `cursors` are those that pages were asked for by. A page and a repository take `pause` seconds each.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, bytes] = {}
        self.documents: dict[str, Mapping[str, object]] = {}
        self.entries: list[dict[str, object]] = []
        self.answers: dict[str, list[Answer]] = {}
        self.asked: Counter[str] = Counter()
        self.cursors: list[str] = []
        self.page_entries = 1000
        self.most_at_once = self._at_once = 0
        self.pause = 0.0

    def add(self, repository: Repository, *, pds: str = "") -> None:
        """Let an account be known, and its repository be had as it is now."""
        self.add_car(repository.did, repository.export(), repository.key.did_key(), rev=repository.rev or "", pds=pds)

    def add_car(self, did: str, car: bytes, did_key: str, *, rev: str = "", pds: str = "") -> None:
        """Let an account be known by its key, and its repository be had."""
        self.repositories[did] = car
        self.documents[did] = document(did, did_key, pds or self.url)
        self.entries = [entry for entry in self.entries if entry.get("did") != did]
        self.entries.append({"did": did, "head": "", "rev": rev, "active": True})

    def say(self, what: str, *answers: Answer) -> None:
        """Answer the next requests for `what` (a DID, listRepos) so."""
        self.answers.setdefault(what, []).extend(answers)

    async def get(self, request: web.Request) -> web.StreamResponse:
        did = request.query.get("did") or request.match_info.get("did", f"did:web:{request.host.replace(':', '%3A')}")
        name = request.path.rpartition(".")[2] if request.path.startswith("/xrpc/") else "document"
        did = "" if name == "listRepos" else did
        self.asked[f"{name} {did}".strip()] += 1
        self._at_once += name == "getRepo"
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if name != "document" and self.pause:
                await asyncio.sleep(self.pause)
            for what in (f"{name} {did}", name):
                if answers := self.answers.get(what):
                    return await answers.pop(0)(request)
            return {"getRepo": self._repository, "listRepos": self._page}.get(name, self._document)(request, did)
        finally:
            self._at_once -= name == "getRepo"

    def _document(self, _request: web.Request, did: str) -> web.Response:
        if did not in self.documents:
            return web.json_response({"message": f"DID not registered: {did}"}, status=404)
        return web.json_response(self.documents[did])

    def _repository(self, _request: web.Request, did: str) -> web.Response:
        if did not in self.repositories:
            return xrpc_error("RepoNotFound", f"Could not find repo for DID: {did}")
        return web.Response(body=self.repositories[did], content_type="application/vnd.ipld.car")

    def _page(self, request: web.Request, _did: str) -> web.Response:
        cursor = request.query.get("cursor", "")
        self.cursors.append(cursor)
        start = 0
        if cursor:
            place, _, did = cursor.partition("::")
            start = next(number for number, entry in enumerate(self.entries, 1) if entry.get("did") == did)
            if not place.isdecimal():
                return xrpc_error("InvalidRequest", "Malformed cursor")
        page = self.entries[start : start + min(self.page_entries, int(request.query["limit"]))]
        body: dict[str, object] = {"repos": page}
        if start + len(page) < len(self.entries):
            body["cursor"] = f"{1795404705775 + start}::{page[-1]['did']}"
        return web.json_response(body)


def document(did: str, did_key: str, pds: str) -> dict[str, object]:
    """Return a DID document."""
    key = {"id": f"{did}#atproto", "type": "Multikey", "controller": did}
    service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}
    return {
        "id": did,
        "alsoKnownAs": [f"at://{did.rpartition(':')[2].lower()}.test"],
        "verificationMethod": [{**key, "publicKeyMultibase": did_key.removeprefix("did:key:")}],
        "service": [service],
    }


def xrpc_error(
    name: str, message: str = "", status: int = 400, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a refusal as XRPC has it."""
    return web.json_response({"error": name, "message": message}, status=status, headers=headers)


def refuses(name: str, status: int = 400, **headers: str) -> Answer:
    """Return what answers with a refusal; underscores in the names of headers are hyphens."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return xrpc_error(name, "so it is", status, {key.replace("_", "-"): value for key, value in headers.items()})

    return answer


def sends(body: bytes, **headers: str) -> Answer:
    """Return what answers with other bytes."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return answer


def redirects(to: str) -> Answer:
    """Return what sends on to another URL."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to})

    return answer


def breaks_off(body: bytes) -> Answer:
    """Return what closes the connection after a part of what it promised."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(2 * len(body) + 1)})
        await response.prepare(request)
        await response.write(body)
        if request.transport is not None:
            request.transport.abort()
        return response

    return answer


def trickles(body: bytes = b"\0", seconds: float = 0.02) -> Answer:
    """Return what sends a little now and then, without end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(body)
            await asyncio.sleep(seconds)

    return answer


@contextmanager
def hosts() -> Iterator[World]:
    """Give a running server, in a thread of its own."""
    loop = asyncio.new_event_loop()
    runner: web.AppRunner | None = None

    async def start() -> tuple[web.AppRunner, World]:
        world = World("")
        app = web.Application()
        app.router.add_get("/xrpc/{method}", world.get)
        app.router.add_get("/.well-known/did.json", world.get)
        app.router.add_get("/{did}", world.get)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address: Any = runner.addresses[0]
        world.url = f"http://localhost:{address[1]}"
        return runner, world

    thread = threading.Thread(target=loop.run_forever, name="hosts", daemon=True)
    thread.start()
    try:
        runner, world = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield world
    finally:
        if runner is not None:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def root_of(repository: Repository) -> str:
    """Return the digest that a claim has of a whole repository as it is now."""
    assert repository.data is not None
    return f"root:{cid_text(repository.data)}"
