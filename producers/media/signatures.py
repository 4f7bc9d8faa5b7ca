"""What the first bytes of a file system, container or volume say of it, where it can't be read here."""

from collections.abc import Callable
from typing import Final

import msgspec


class Signature(msgspec.Struct, frozen=True):
    """Bytes at an offset, and what has them there. What holds no files is listed, but nothing is lost with it."""

    name: str
    offset: int
    magics: tuple[bytes, ...]
    holds_files: bool = True


PAGES: Final = (4096, 8192, 16384, 65536)

SIGNATURES: Final = (
    Signature("btrfs", 0x10040, (b"_BHRfS_M",)),
    Signature("squashfs", 0, (b"hsqs", b"sqsh")),
    Signature("XFS", 0, (b"XFSB",)),
    Signature("APFS", 32, (b"NXSB",)),
    Signature("ReFS", 3, (b"ReFS\0\0\0\0",)),
    Signature("F2FS", 1024, (b"\x10\x20\xf5\xf2",)),
    Signature("EROFS", 1024, (b"\xe2\xe1\xf5\xe0",)),
    Signature("cramfs", 0, (b"\x45\x3d\xcd\x28", b"\x28\xcd\x3d\x45")),
    Signature("romfs", 0, (b"-rom1fs-",)),
    Signature("JFS", 0x8000, (b"JFS1",)),
    Signature("ReiserFS", 0x10034, (b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs")),
    Signature("Minix", 0x410, (b"\x7f\x13", b"\x8f\x13", b"\x68\x24", b"\x78\x24")),
    Signature("HFS classic", 1024, (b"BD",)),
    Signature("MFS", 1024, (b"\xd2\xd7",)),
    Signature("UDF", 0x8001, (b"BEA01",)),
    Signature("ZFS", 0x20000, (b"\x0c\xb1\xba\x00", b"\x00\xba\xb1\x0c")),
    Signature("LUKS (encrypted)", 0, (b"LUKS\xba\xbe",)),
    Signature("BitLocker (encrypted)", 3, (b"-FVE-FS-",)),
    Signature("LVM", 512, (b"LABELONE",)),
    Signature("Linux RAID", 4096, (b"\xfc\x4e\x2b\xa9",)),
    Signature("EWF (.E01)", 0, (b"EVF\x09\x0d\x0a\xff\x00", b"EVF2\x0d\x0a\x81\x00")),
    Signature("AFF", 0, (b"AFF10\r\n\0", b"AFF1")),
    Signature("QCOW", 0, (b"QFI\xfb",)),
    Signature("VMDK", 0, (b"KDMV", b"# Disk DescriptorFile")),
    Signature("VHDX", 0, (b"vhdxfile",)),
    Signature("VHD", 0, (b"conectix",)),
    Signature("VDI", 0x40, (b"\x7f\x10\xda\xbe",)),
    *(Signature("Linux swap", page - 10, (b"SWAPSPACE2", b"SWAP-SPACE"), holds_files=False) for page in PAGES),
)


def recognise(read: Callable[[int, int], bytes]) -> Signature | None:
    """Return what is recognised; `read` takes an offset and a size, and may return less or raise OSError."""
    for signature in SIGNATURES:
        size = max(map(len, signature.magics))
        try:
            found = read(signature.offset, size)
        except OSError:
            continue
        if found.startswith(signature.magics):
            return signature
    return None
