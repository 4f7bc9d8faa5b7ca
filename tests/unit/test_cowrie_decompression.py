"""What a file's content is, however it is compressed and whatever has happened to it."""

import bz2
import gzip
import io
import lzma
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest

from producers.cowrie.decompression import CompressedContent, Content, DamagedStream, PlainContent, decompressed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compress = Callable[[bytes], bytes]

COMPRESSORS = [
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(bz2.compress, id="bzip2"),
    pytest.param(lzma.compress, id="xz"),
    pytest.param(partial(zstd.compress, options={zstd.CompressionParameter.checksum_flag: 1}), id="zstd"),
]
TEXT = b"".join(b'{"line": %d, "noise": %d}\n' % (number, number * 7919 % 10007) for number in range(20_000))
BIT_FLIPS = (0.1, 0.5, 0.9, 0.9999)


def content(data: bytes) -> Content:
    return decompressed(io.BytesIO(data))


def read_all(found: Content, size: int = 10_000) -> bytes:
    """Read to the end. Damage ends it too, and stays visible by `damage()`."""
    parts: list[bytes] = []
    start = found.position
    try:
        while data := found.read(size):
            assert len(data) <= size
            parts.append(data)
            assert found.position == start + sum(map(len, parts))
    except DamagedStream:
        assert found.damage() is not None
    return b"".join(parts)


def test_a_plain_file_is_its_content() -> None:
    found = content(TEXT)
    assert isinstance(found, PlainContent)
    assert read_all(found) == TEXT
    assert found.damage() is None


@pytest.mark.parametrize("data", [b"", b"{", b"BZh9 is how this line begins\n", b"\x1f\x8b", b"\x28\xb5\x2f"])
def test_what_only_begins_like_a_compressed_file_is_plain(data: bytes) -> None:
    assert read_all(content(data)) == data


@pytest.mark.parametrize("compress", COMPRESSORS)
class TestCompressed:
    def test_it_is_recognised_by_its_content(self, compress: Compress) -> None:
        found = content(compress(TEXT))
        assert isinstance(found, CompressedContent)
        assert read_all(found) == TEXT
        assert found.damage() is None

    def test_several_members_are_one_content(self, compress: Compress) -> None:
        found = content(compress(TEXT) + compress(b"") + compress(b"more\n") + compress(TEXT))
        assert read_all(found) == TEXT + b"more\n" + TEXT
        assert found.damage() is None

    def test_zeros_between_and_after_members_are_padding(self, compress: Compress) -> None:
        found = content(compress(TEXT) + bytes(100_000) + compress(b"more\n") + bytes(512))
        assert read_all(found) == TEXT + b"more\n"
        assert found.damage() is None

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
    def test_a_truncated_stream_gives_what_there_is_and_says_so(self, compress: Compress, share: float) -> None:
        data = compress(TEXT)
        found = content(data[: int(len(data) * share)])
        assert TEXT.startswith(read_all(found))
        damage = found.damage()
        assert damage is not None
        assert f"ends early, after byte {int(len(data) * share)}" in str(damage)

    def test_a_stream_cut_in_its_trailer_gives_everything(self, compress: Compress) -> None:
        found = content(compress(TEXT)[:-1])
        assert read_all(found) == TEXT
        assert found.damage() is not None

    @pytest.mark.parametrize("size", [7, 1_000_000])
    def test_damage_costs_no_byte_before_it(self, compress: Compress, size: int) -> None:
        """The last member's check doesn't hold: even that member was readable, and so was all before it."""
        data = bytearray(compress(b"first\n" * 100) + compress(b"second\n" * 100))
        data[-12] ^= 1
        assert read_all(content(bytes(data)), size).startswith(b"first\n" * 100)
        assert content(bytes(data)).read(size)

    @pytest.mark.parametrize("share", BIT_FLIPS)
    def test_a_damaged_stream_never_raises_anything_else(self, compress: Compress, share: float) -> None:
        data = bytearray(compress(TEXT))
        data[int(len(data) * share)] ^= 0x10
        found = content(bytes(data))
        read_all(found)
        if (damage := found.damage()) is not None:
            assert "byte" in str(damage)

    def test_what_follows_a_stream_and_is_none_is_damage(self, compress: Compress) -> None:
        data = compress(TEXT)
        found = content(data + b"this is no member at all")
        assert read_all(found) == TEXT
        assert f"followed by something else at byte {len(data)}" in str(found.damage())

    def test_reading_can_go_on_anywhere(self, compress: Compress) -> None:
        found = content(compress(TEXT[:50_000]) + compress(TEXT[50_000:]))
        for position in (100_000, 10, 49_999, 50_000, 0, len(TEXT)):
            found.seek(position)
            assert found.position == position
            assert read_all(found) == TEXT[position:]

    def test_a_file_that_grows_can_be_read_on(self, compress: Compress) -> None:
        data = compress(TEXT)
        file = io.BytesIO(data[:1_000])
        found = decompressed(file)
        first = read_all(found)
        assert found.damage() is not None
        at = file.tell()
        file.seek(0, io.SEEK_END)
        file.write(data[1_000:])
        file.seek(at)
        assert first + read_all(found) == TEXT
        assert found.damage() is None

    def test_a_bomb_needs_no_memory(self, compress: Compress) -> None:
        bomb = compress(bytes(64 * 1024 * 1024))
        found = content(bomb)
        tracemalloc.start()
        total = 0
        while data := found.read(256 * 1024):
            total += len(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == 64 * 1024 * 1024
        assert peak < 24 * 1024 * 1024


def test_a_gzip_member_whose_checksum_is_wrong_still_gives_its_lines() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-5] ^= 0xFF
    found = content(bytes(data))
    assert read_all(found, 8 * 1024 * 1024) == TEXT
    assert "is damaged near byte" in str(found.damage())


def test_zstd_frames_may_be_skippable() -> None:
    skippable = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    found = content(skippable + zstd.compress(TEXT))
    assert read_all(found) == TEXT
    assert found.damage() is None


def test_an_xz_stream_that_wants_too_much_memory_is_damage() -> None:
    data = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1024 * 1024 * 1024}])
    found = content(data)
    assert read_all(found) == b""
    assert "Memory usage limit" in str(found.damage())
