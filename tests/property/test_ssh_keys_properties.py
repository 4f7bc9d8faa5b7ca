"""Keys in commands: whatever a command holds, the search ends, and what it finds can be stored."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sessions.ssh_keys import MAX_COMMENT_CHARS, MAX_PATH_CHARS, find_keys
from tallystick.contracts.text import printable

ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIFqJSYvl4SuNYzpE/7N+gDUjY1uGF8UlXQIEIABAPAox"
PIECES = st.sampled_from(
    [
        *("ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-nistp256 ", "sk-ssh-ed25519@openssh.com ", ED25519, ED25519[:30]),
        *("AAAAB3NzaC1yc2EAAAADAQABAAABgQ", "authorized_keys", "base64 -d", "echo ", "printf ", "<<EOF", "\n", " "),
        *("'", '"', "\\", "\\x73", "\\163", "==", " >> ", "\x00", "\ud800", "☃"),
        base64.b64encode(f"ssh-ed25519 {ED25519} a >> authorized_keys".encode()).decode(),
    ]
)
COMMANDS = st.lists(PIECES | st.text(max_size=6), max_size=30).map("".join)


@settings(max_examples=500, deadline=1_000)
@given(COMMANDS)
def test_any_command_can_be_searched(text: str) -> None:
    found = find_keys(printable(text))
    assert len({key.blob for key in found}) == len(found)
    for key in found:
        assert key.fingerprint.startswith("SHA256:")
        assert (key.bits is not None) == key.complete
        assert "authorized_keys" in key.path
        assert len(key.comment) <= MAX_COMMENT_CHARS
        assert len(key.path) <= MAX_PATH_CHARS + len("authorized_keys2")
        assert (key.comment + key.path + key.blob).isprintable()


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["'", '"', ""]), st.sampled_from(["", "no-pty ", "id; "]))
def test_any_key_is_found(point: bytes, quote: str, before: str) -> None:
    content = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + point
    blob = base64.b64encode(content).decode()
    [key] = find_keys(f"echo {quote}{before}ssh-ed25519 {blob} c{quote} >> .ssh/authorized_keys")
    assert (base64.b64decode(key.blob + "=" * (-len(key.blob) % 4)), key.bits, key.comment) == (content, 256, "c")
