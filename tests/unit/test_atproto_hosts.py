"""What people write for a host."""

import pytest

from producers.atproto.hosts import Host, host_of
from tallystick.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "http", "websocket"),
    [
        pytest.param(
            "bsky.network", "bsky.network", "https://bsky.network", "wss://bsky.network", id="a bare name: TLS"
        ),
        pytest.param("BSKY.Network.", "bsky.network", "https://bsky.network", "wss://bsky.network", id="one spelling"),
        pytest.param("wss://bsky.network/", "bsky.network", "https://bsky.network", "wss://bsky.network", id="wss"),
        pytest.param(
            "https://bsky.network:443", "bsky.network", "https://bsky.network", "wss://bsky.network", id="443"
        ),
        pytest.param("pds.test:2583", "pds.test:2583", "https://pds.test:2583", "wss://pds.test:2583", id="port, TLS"),
        pytest.param("ws://127.0.0.1:2583", "127.0.0.1:2583", "http://127.0.0.1:2583", "ws://127.0.0.1:2583", id="ws"),
        pytest.param("http://localhost:80", "localhost", "http://localhost", "ws://localhost", id="http on its port"),
        pytest.param("http://pds_1:443", "pds_1:443", "http://pds_1:443", "ws://pds_1:443", id="http on 443"),
        pytest.param("ws://[::1]:8080", "[::1]:8080", "http://[::1]:8080", "ws://[::1]:8080", id="IPv6"),
        pytest.param("[0:0::1]", "[::1]", "https://[::1]", "wss://[::1]", id="IPv6 has one spelling"),
    ],
)
def test_a_host_is_known_by_one_name(text: str, name: str, http: str, websocket: str) -> None:
    assert host_of(text) == Host(name, http, websocket)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "no host's name", id="nothing"),
        pytest.param("wss://", "no host's name", id="only a scheme"),
        pytest.param("ftp://bsky.network", "scheme", id="another scheme"),
        pytest.param("wss://me:secret@bsky.network", "no password", id="a password"),
        pytest.param("https://bsky.network/xrpc/x", "without a path", id="a path"),
        pytest.param("bsky.network?cursor=1", "without a path", id="a query"),
        pytest.param("bsky.network:0", "number 0", id="port 0"),
        pytest.param("bsky.network:70000", "out of range", id="a port too large"),
        pytest.param("bsky.network:abc", "no host", id="a port that is no number"),
        pytest.param("bücher.example", "xn--", id="international"),
        pytest.param("bsky network", "no host's name", id="a blank"),
        pytest.param("-a.example", "no host's name", id="a hyphen first"),
        pytest.param("[::zz]", "no host", id="no IPv6 address"),
        pytest.param("[fe80::1%eth0]", "no host", id="a zone"),
        pytest.param(f"{'a' * 64}.example", "no host's name", id="a label too long"),
        pytest.param("a\n.example", "no host's name", id="a line end"),
    ],
)
def test_what_is_no_host_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        host_of(text)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
