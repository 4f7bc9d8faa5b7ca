"""Fields of binary COPY: psycopg, which reads the same formats from the server, must find in them what was put in."""

import struct
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.postgres import types
from psycopg.pq import Format

from sinks.writers import copy_fields
from tallystick.contracts.timestamps import render

MOMENTS = st.datetimes(timezones=st.just(UTC))


def read(field: bytes, type_name: str) -> object:
    """Return what psycopg makes of a field of PostgreSQL's type."""
    length = struct.unpack(">i", field[:4])[0]
    assert length == len(field) - 4
    return Transformer().get_loader(types[type_name].oid, Format.BINARY).load(field[4:])


@given(MOMENTS)
def test_a_moment_is_the_same_to_the_microsecond(moment: datetime) -> None:
    assert read(copy_fields.timestamptz(render(moment)), "timestamptz") == moment


@given(st.integers(-(2**63), 2**63 - 1))
def test_large_integers(number: int) -> None:
    assert read(copy_fields.bigint(number), "int8") == number


@given(st.integers(-(2**31), 2**31 - 1))
def test_small_integers(number: int) -> None:
    assert read(copy_fields.integer(number), "int4") == number


@given(st.text(), st.booleans(), st.binary())
def test_text_truth_and_bytes(text: str, flag: bool, content: bytes) -> None:
    assert read(copy_fields.text(text.encode()), "text") == text
    assert read(copy_fields.boolean(flag), "bool") is flag
    assert read(copy_fields.text(content), "bytea") == content


def test_json_is_text_behind_its_version() -> None:
    assert read(copy_fields.jsonb(b'{"a": [1, null]}'), "jsonb") == {"a": [1, None]}


@given(st.lists(st.lists(st.binary(), min_size=2, max_size=2), max_size=5))
def test_each_row_is_its_fields_behind_their_number(contents: list[list[bytes]]) -> None:
    rows = [[copy_fields.text(content) for content in row] for row in contents]
    assert copy_fields.encoded(rows, 2) == b"".join(b"\0\2" + first + second for first, second in rows)
