"""AT Protocol: hosts are asked within bounds, and never where a stranger points inwards."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import trustme

from producers.atproto.http import (
    LONGEST_RETRY_AFTER,
    PRIVATE_ADDRESS,
    HttpError,
    Refused,
    Transient,
    Web,
    is_public,
    retry_after,
)
from tallystick.settings import AtprotoSettings, Settings
from tests.atproto_hosts import World, breaks_off, hosts, redirects, refuses, sends, trickles
from tests.atproto_server import Server, serving

NAME = "describeServer"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with hosts() as running:
        yield running


def ask(url: str, *, named: tuple[str, ...] = (), seconds: float = 5.0, max_bytes: int = 1000) -> dict[str, object]:
    settings = Settings.model_construct(atproto=AtprotoSettings(http_seconds=seconds))

    async def work() -> dict[str, object]:
        async with Web(settings, named=named) as web:
            return await web.ask(url, dict[str, object], {"a b": "1795404705775::did:plc:x+y"}, max_bytes=max_bytes)

    return asyncio.run(work())


@pytest.fixture
def url(world: World) -> str:
    world.answers.clear()
    return f"{world.url}/xrpc/com.atproto.server.{NAME}"


def refused(url: str, world: World, **options: float) -> HttpError:
    with pytest.raises(HttpError) as raised:
        ask(url, named=(world.url,), **options)  # type: ignore[arg-type]
    return raised.value


def test_a_host_whose_certificate_nobody_vouches_for_is_not_believed_and_may_be_asked_again() -> None:
    server = Server()
    server.documents = {"did:plc:a": {"id": "did:plc:a"}}
    server.certify(trustme.CA())
    with serving(server), pytest.raises(Transient, match="certificate is not trusted: 'unable to get local issuer"):
        ask(f"{server.http}/did:plc:a", named=(server.http,))


def test_an_answer_is_given_and_parameters_arrive_as_they_were(world: World, url: str) -> None:
    from aiohttp import web

    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({**request.query, "agent": request.headers["User-Agent"]})

    world.say(NAME, echo)
    found = ask(url, named=(world.url,))
    assert found["a b"] == "1795404705775::did:plc:x+y"
    assert str(found["agent"]).startswith("tallystick/")


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        pytest.param(429, {"Retry_After": "7"}, 7.0, id="too much, told for how long"),
        pytest.param(429, {}, None, id="too much"),
        pytest.param(503, {"Retry_After": "3"}, 3.0, id="not now"),
        pytest.param(500, {}, None, id="broken"),
        pytest.param(408, {}, None, id="too slow"),
    ],
)
def test_trouble_that_may_pass_is_transient(
    world: World, url: str, status: int, headers: dict[str, str], wait: float | None
) -> None:
    world.say(NAME, refuses("Whatever", status, **headers))
    error = refused(url, world)
    assert isinstance(error, Transient)
    assert (error.status, error.retry_after) == (status, wait)


def test_a_refusal_has_its_xrpc_name_and_what_was_said_is_escaped(world: World, url: str) -> None:
    world.say(NAME, sends(b"{}", Content_Encoding="gzip"), refuses("RepoTakendown"), refuses("No name\x1b[2J", 404))
    compressed, taken_down, nameless = (refused(url, world) for _ in range(3))
    assert isinstance(compressed, Refused)
    assert isinstance(taken_down, Refused)
    assert (taken_down.status, taken_down.error) == (400, "RepoTakendown")
    assert isinstance(nameless, Refused)
    assert (nameless.status, nameless.error) == (404, "")
    assert "\x1b" not in str(nameless)


def test_bodies_are_bounded_in_size_and_in_time(world: World, url: str) -> None:
    world.say(
        NAME, sends(b'"' + b"x" * 2000 + b'"'), trickles(b" " * 400), trickles(b" "), breaks_off(b"{"), sends(b"[]")
    )
    assert isinstance(refused(url, world), Refused)
    assert isinstance(refused(url, world), Refused)
    assert "no whole answer in 0.3 s" in str(refused(url, world, seconds=0.3))
    assert isinstance(refused(url, world), Transient)
    assert "not what is expected" in str(refused(url, world))


def test_redirects_are_followed_a_few_times_and_never_to_other_schemes(world: World, url: str) -> None:
    world.say(NAME, redirects(f"{url}?again"), sends(b'{"n":1}'))
    assert ask(url, named=(world.url,)) == {"n": 1}
    world.say(NAME, *[redirects(url)] * 4, redirects("file:///etc/passwd"), redirects(""), redirects("http://[::bad"))
    assert "more than 3 redirects" in str(refused(url, world))
    assert "only http and https" in str(refused(url, world))
    assert isinstance(refused(url, world), Refused)
    assert isinstance(refused(url, world), Refused)


def test_a_redirect_inwards_is_not_followed(world: World, url: str) -> None:
    other = url.replace("localhost", "127.0.0.1")
    world.say(NAME, redirects(other))
    error = refused(url, world)
    assert isinstance(error, Refused)
    assert error.error == PRIVATE_ADDRESS


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "127.1", "2130706433", "0", "[::]"],
)
def test_what_a_stranger_names_is_not_asked_on_this_machine(world: World, host: str) -> None:
    port = world.url.rpartition(":")[2]
    before = world.asked.total()
    with pytest.raises(Refused):
        ask(f"http://{host}:{port}/xrpc/x.{NAME}", named=("http://localhost:1",))
    assert world.asked.total() == before


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("172.16.3.4", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("2002:0a00:0001::1", False),
    ],
)
def test_only_addresses_that_everybody_can_reach_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


NOW = 1_795_406_900.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "99999999"}, LONGEST_RETRY_AFTER),
        ({"Retry-After": "Mon, 23 Nov 2026 04:08:30 GMT"}, 10.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "٣"}, None),
        ({"RateLimit-Reset": "30"}, 30.0),
        ({"RateLimit-Reset": f"{NOW + 25:.0f}"}, 25.0),
        ({"RateLimit-Reset": "x"}, None),
    ],
)
def test_how_long_a_host_asks_to_be_spared(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
