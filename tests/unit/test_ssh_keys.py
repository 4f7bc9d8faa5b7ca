"""SSH keys in commands: where they are found, and what is told of them. The fingerprints are those of ssh-keygen."""

import base64
import time

import pytest

from streams.sessions.ssh_keys import MAX_BLOB_CHARS, MAX_KEYS, find_keys

KEYS = [
    pytest.param(
        "ssh-dss",
        (
            "AAAAB3NzaC1kc3MAAACBAOT6Vk6lDd8jm4RNP5VDHwoIK36XHixrG69vgv3sqLG7ysoQlzRNmhj8pqbsioauAnWqnKPDDXGS"
            "KGydXeETs3ZEtmvl6m6j0iMU/kD0a3dDDqiAch7OzniYsvxgBOYoIBY45eUFp4DNWoFRvqC1SMcK79SuZb1aqWZAuaI1t3Kj"
            "AAAAFQD69FhA3mk/cwcW8Qqc6skU6BMJTwAAAIEAm7KGcGU366FDTOPo3WuGoip1ZHHaw51vdlUzs5fwIjm7vvPIzNTpQED1"
            "YDDWvNMx07ggbjo0hBR6Vycx4AqhhjUxA/sIwUOxKmb//fHcU7/FXkGiGlsZFXVCY1HjmRgX167CScFZGWWtSipD6+H5AbcD"
            "X8wLUW3eDHoYk7c1Q5wAAACBAIRuzlfG6aoqsAs6Zd19iG6lqf/R7YZgSBldWprs34bjNIijh4e3fM5RqYolZspuYzntDm6s"
            "ex8QtKlKYCVIEvW6OrUgEgZxsBgLsZ8+86KVfZ5Y5vfaF0L1vs2xphzZESl5hXsL9wrp2QiI5S4y2e1jY70WoXFjPwSY25/G"
            "DXd1"
        ),
        1024,
        "SHA256:1czE8+jANBLJCP/rcIK/Jjw6bCyakaCZGNGH7JFIoQU",
        id="ssh-dss",
    ),
    pytest.param(
        "ecdsa-sha2-nistp384",
        (
            "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBFJ7eUGkEYe+ddmFQZHbxlh0Zale0Xz1/YuZy8ydaw3W"
            "WgdaAy4cur0RXuBLvrYgNlbKnf0E3NiYLwqC8asPBrQJ2f4ScDN8fVQqG1MS4EroH4kb5rqZ2HF4KBSkRurF5Q=="
        ),
        384,
        "SHA256:YPMGERG0ELwklvYm9VjN0KVYWIrYVmwxUj7zDpYoX6s",
        id="ecdsa-sha2-nistp384",
    ),
    pytest.param(
        "ecdsa-sha2-nistp521",
        (
            "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBACoMd396UafMNmyFKF0scGWzsz9vskD1YiVWvO/3JLq"
            "ieL8Wr7AZ4ImQHYARVvTvbKwkjR7ElQTJgZqywB44hh9wAGBJ6dx9O7gB0aLQHZmZqMxnbclq2oZx5I+Szb1OehrlSZcrZx2"
            "496OCI0/NTpCOSZmnMcvcKJW3/9GoppCWai9rg=="
        ),
        521,
        "SHA256:jHGu6L6PBu8UHQS7rlN+3jSQ0Lg1w+YS5pnZiZCLfNA",
        id="ecdsa-sha2-nistp521",
    ),
    pytest.param(
        "ssh-ed25519",
        ("AAAAC3NzaC1lZDI1NTE5AAAAIFqJSYvl4SuNYzpE/7N+gDUjY1uGF8UlXQIEIABAPAox"),
        256,
        "SHA256:I8wrUj4pSHn3jvRTY73Biz5m/ZCTf5HyN5iz0+L73Y0",
        id="ssh-ed25519",
    ),
    pytest.param(
        "ssh-rsa",
        (
            "AAAAB3NzaC1yc2EAAAADAQABAAABAQC9aXs0HwOSdpSiS1NVxs5SEWqZpDDdfR2xHjdcD6yyR9yP3Cv8UyYh2Ewvlb7qd07d"
            "6zFQD8P1XuK+JjCQphkMwHu+sNgSlbKN0RAAEeUKtMyRgb82ImLsreKOWaZZMnw6nOLlEk1+4BbRxjG8ZB/5V8NFFR8WqwmZ"
            "21OPj8Gl/Amg/NVUwN3oYKZHOlxFWXaM/afg7P7UVjtt+rJBbubUJ0XqI5ClM7oM1mRA/XczDU+eOFyTDRFHg76ApNnZr431"
            "vJZzq44+2mC3DzhPY4Ig5d6w65WYcPkx4/QoTkylRVyAdrpkeBPo5cNr4Izv6Gqn6xxbikZ0eBvg0Qv4ZH5t"
        ),
        2048,
        "SHA256:ISa95dfLH+ZtxSmJxkfPrPB/u+mlG3q89LWlx6dkbsc",
        id="ssh-rsa",
    ),
]
ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIFqJSYvl4SuNYzpE/7N+gDUjY1uGF8UlXQIEIABAPAox"
KEY = f"ssh-ed25519 {ED25519} me@there"
FILE = "~/.ssh/authorized_keys"


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def wire(*fields: bytes) -> str:
    """Return the base64 of strings in SSH's wire format."""
    return base64.b64encode(b"".join(len(field).to_bytes(4) + field for field in fields)).decode()


@pytest.mark.parametrize(("kind", "blob", "bits", "sha256"), KEYS)
def test_what_ssh_keygen_says_of_a_key(kind: str, blob: str, bits: int, sha256: str) -> None:
    [key] = find_keys(f"echo '{kind} {blob} some body' >> {FILE}")
    assert (key.type, key.blob, key.bits, key.fingerprint, key.complete) == (kind, blob, bits, sha256, True)
    assert (key.comment, key.method, key.path) == ("some body", "direct_echo", FILE)


@pytest.mark.parametrize(
    ("command", "method", "path"),
    [
        pytest.param(f'echo "{KEY}" >> {FILE}', "direct_echo", FILE, id="echo"),
        pytest.param(f"echo {KEY}>{FILE};id", "direct_echo", FILE, id="echo without quotes or spaces"),
        pytest.param(f'echo -e "\\n{KEY}\\n">>{FILE}', "direct_echo", FILE, id="echo with escapes"),
        pytest.param(f"printf '{KEY}\\n' > /a/authorized_keys", "printf", "/a/authorized_keys", id="printf"),
        pytest.param(
            "printf '" + "".join(f"\\x{byte:02x}" for byte in KEY.encode()) + f"' >> {FILE}", "printf", FILE, id="hex"
        ),
        pytest.param(
            "printf '" + "".join(f"\\{byte:03o}" for byte in KEY.encode()) + f"' >> {FILE}", "printf", FILE, id="octal"
        ),
        pytest.param(f"cat <<EOF >> {FILE}\n{KEY}\nEOF\n", "heredoc", FILE, id="here-document"),
        pytest.param(f"tee -a {FILE} <<< '{KEY}'", "heredoc", FILE, id="here-string"),
        pytest.param(f"sed -i '1i {KEY}' {FILE}", "script", FILE, id="sed"),
        pytest.param(f"echo {in_base64(KEY)} | base64 -d >> {FILE}", "base64_encoded", FILE, id="key in base64"),
        pytest.param(
            f"echo {in_base64(f'echo {KEY} >> {FILE}')}|base64 --decode|sh",
            "base64_encoded",
            FILE,
            id="script in base64",
        ),
        pytest.param(
            f"echo {in_base64('echo ' + in_base64(f'echo {KEY} >> {FILE}') + '|base64 -d|sh')}|base64 -d|sh",
            "base64_encoded",
            FILE,
            id="base64 in base64",
        ),
        pytest.param(
            f"echo 'ssh-ed'\"25519 {ED25519[:25]}\"'{ED25519[25:]} me@there' >> ~/.ssh/authorized'_keys'",
            "direct_echo",
            FILE,
            id="quotes put together",
        ),
        pytest.param(f"echo 'command=\"/bin/sh\",no-pty {KEY}' >> {FILE}", "direct_echo", FILE, id="after options"),
        pytest.param(f"echo {KEY} >> {FILE}2", "direct_echo", f"{FILE}2", id="the old file"),
    ],
)
def test_where_a_key_is_found(command: str, method: str, path: str) -> None:
    [key] = find_keys(command)
    assert (key.blob, key.bits, key.comment, key.method, key.path) == (ED25519, 256, "me@there", method, path)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(f"echo {KEY}", id="written nowhere"),
        pytest.param(f"cat {FILE}", id="no key"),
        pytest.param(f"echo 'ssh-rsa {ED25519}' >> {FILE}", id="said to be of another type"),
        pytest.param(f"echo 'ssh-rsa AAAA{'B' * 37}' >> {FILE}", id="no base64"),
        pytest.param(f"echo 'ssh-rsa AAAA{'B' * MAX_BLOB_CHARS}BBBB' >> {FILE}", id="longer than any key"),
        pytest.param("", id="empty"),
    ],
)
def test_where_none_is_found(command: str) -> None:
    assert find_keys(command) == ()


def test_what_base64_leaves_open_makes_no_other_key() -> None:
    blob = wire(b"ssh-ed25519", bytes(32), b"")
    assert blob.endswith("A==")
    [key] = find_keys(f"echo ssh-ed25519 {blob} ssh-ed25519 {blob[:-3]}B== >> {FILE}")
    assert key.blob == blob


def test_several_keys_of_a_line() -> None:
    others = [f"ssh-ed25519 {wire(b'ssh-ed25519', bytes([number]) * 32)} {number}" for number in range(3)]
    found = find_keys(f"printf '%s\\n' '{others[2]}' '{others[0]}' '{others[1]}' '{others[1]}' >> {FILE}")
    assert [key.comment for key in found] == ["0", "1", "2"]
    many = [f"ssh-ed25519 {wire(b'ssh-ed25519', number.to_bytes(32))}" for number in range(2 * MAX_KEYS)]
    assert len(find_keys(f"echo '{' '.join(many)}' >> {FILE}")) == MAX_KEYS


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((b"ssh-ed25519", bytes(31)), id="too short"),
        pytest.param((b"ssh-ed25519", bytes(32), b""), id="too many fields"),
        pytest.param((b"ssh-rsa", b"\1\0\1"), id="no modulus"),
        pytest.param((b"ssh-rsa", b"\1\0\1", b"\0\0"), id="a modulus of nothing"),
        pytest.param((b"ecdsa-sha2-nistp256", b"nistp384", bytes(65)), id="of another curve"),
        pytest.param((b"ecdsa-sha2-nistp256", *[b""] * 9), id="many fields"),
    ],
)
def test_what_is_no_whole_key_says_so(fields: tuple[bytes, ...]) -> None:
    [key] = find_keys(f"echo {fields[0].decode()} {wire(*fields)} >> {FILE}")
    assert (key.bits, key.complete) == (None, False)


def test_a_key_that_was_cut_short_says_so() -> None:
    [key] = find_keys(f'echo "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ mdrfckr" >> {FILE}')
    assert (key.type, key.bits, key.complete, key.comment) == ("ssh-rsa", None, False, "mdrfckr")


def test_security_keys() -> None:
    for kind, fields in (
        ("sk-ssh-ed25519@openssh.com", (bytes(32), b"ssh:")),
        ("sk-ecdsa-sha2-nistp256@openssh.com", (b"nistp256", bytes(65), b"ssh:")),
    ):
        [key] = find_keys(f"echo {kind} {wire(kind.encode(), *fields)} >> {FILE}")
        assert (key.type, key.bits, key.complete) == (kind, 256, True)


def test_comments_and_paths_are_bounded_and_harmless() -> None:
    [key] = find_keys(f"echo 'ssh-ed25519 {ED25519} \x1b[31m{'c' * 500}' >> {'d' * 500}/authorized_keys")
    assert key.comment == "[31m" + "c" * 123
    assert key.path == "d" * 127 + "/authorized_keys"


def test_no_command_holds_up_the_search() -> None:
    # Linear searches take milliseconds for these; one that backtracks would take minutes.
    started = time.process_time()
    for seed in (
        "ssh-rsa AAAA",
        "ssh-rsa ",
        "A",
        "AAAA",
        "ssh-rsa AAAA" + "B" * 2_000,
        "\\x41",
        "\\1",
        "'\"",
        "<<",
        "ssh-",
    ):
        find_keys(f"base64 authorized_keys {seed * 200_000}")
        find_keys(f"echo {in_base64(seed * 20_000)} | base64 -d authorized_keys")
    assert time.process_time() - started < 5
