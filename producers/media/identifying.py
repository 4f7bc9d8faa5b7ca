"""What a target is, and which medium: by its bytes, never by where it lies (but for a folder, which is where it is)."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
from blake3 import blake3

from tallystick.contracts.media import ENDS_BYTES, Form, medium_id
from tallystick.errors import UsageError

_BLOCK_BYTES = 4 * 1024 * 1024
_ID = re.compile(rb"[0-9a-f]{32}")
_SYSFS = Path("/sys/class/block")


class Identity(msgspec.Struct, frozen=True):
    """A target that was looked at. `image` holds its bytes, `map` is what ddrescue left; each is empty without one."""

    medium: str
    form: Form
    root: bytes
    size: int
    image: bytes = b""
    map: bytes = b""
    model: str = ""
    serial: str = ""

    @property
    def name(self) -> str:
        """The last part of the path, as text; bytes that are none stay as surrogates."""
        return os.fsdecode(os.path.basename(self.root) or self.root)


def look_at(target: str) -> Identity:
    """Return what `target` is. Reads its ends only.

    A file whose name is an id already (32 hexadecimal digits, then a suffix) keeps it, as media of ntt do.
    Raises UsageError where it isn't there, can't be opened, or is neither device, file nor folder.
    """
    root = os.path.realpath(os.fsencode(target))
    try:
        found = os.stat(root)
        if stat.S_ISDIR(found.st_mode):
            return Identity(blake3(b"TREE|" + root).hexdigest()[:32], Form.TREE, root, size=0)
        if stat.S_ISBLK(found.st_mode):
            return _device(root)
        if stat.S_ISREG(found.st_mode):
            return _file(root, found.st_size)
    except OSError as error:
        raise UsageError(
            f"{target}: can't be read: {error.strerror}; give a device, an image, a folder or a listing"
        ) from error
    raise UsageError(f"{target}: neither a block device, nor a file, nor a folder")


def digest_of(path: bytes, *, on_block: Callable[[int], None]) -> str:
    """Return the BLAKE3 of a whole file. `on_block` is told how many bytes have been read. Raises OSError."""
    digest, done = blake3(), 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            on_block(done)
    return digest.hexdigest()


def _device(root: bytes) -> Identity:
    model, serial = (_sysfs(root, name) for name in ("model", "serial"))
    with open(root, "rb", buffering=0) as device:
        size, first, last = _ends(device.fileno())
    medium = medium_id(size=size, first=first, last=last, model=model, serial=serial)
    return Identity(medium, Form.DEVICE, root, size, model=model, serial=serial)


def _file(root: bytes, size: int) -> Identity:
    with open(root, "rb", buffering=0) as file:
        _, first, last = _ends(file.fileno())
    stem = os.path.basename(root).split(b".")[0]
    named = stem.decode() if _ID.fullmatch(stem) else ""
    if is_listing(first):
        return Identity(named or digest_of(root, on_block=lambda _done: None)[:32], Form.LISTING, root, size)
    medium = named or medium_id(size=size, first=first, last=last)
    return Identity(medium, Form.IMAGE, root, size, image=root, map=find_map(root))


def is_listing(first: bytes) -> bool:
    """Return whether a file that begins with `first` is a listing: a letter for a type, then the separator."""
    return first[:1] in {b"f", b"d", b"l", b"b", b"c", b"p", b"s"} and first[1:2] == b"\x1c"


def find_map(image: bytes) -> bytes:
    """Return the path of the map that ddrescue left beside `image`, empty where there is none."""
    stem, _ = os.path.splitext(image)
    return next((path for path in (image + b".map", stem + b".map") if os.path.isfile(path)), b"")


def _ends(descriptor: int) -> tuple[int, bytes, bytes]:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return size, _read(descriptor, 0), _read(descriptor, max(size - ENDS_BYTES, 0))


def _read(descriptor: int, offset: int) -> bytes:
    """Return up to ENDS_BYTES from `offset`; what can't be read counts as zeros, as in ntt."""
    parts = bytearray()
    while len(parts) < ENDS_BYTES:
        try:
            part = os.pread(descriptor, ENDS_BYTES - len(parts), offset + len(parts))
        except OSError:
            break
        if not part:
            break
        parts += part
    return bytes(parts)


def _sysfs(root: bytes, name: str) -> str:
    try:
        return (_SYSFS / os.fsdecode(os.path.basename(root)) / "device" / name).read_text().strip()
    except OSError:
        return ""
