"""Content identifiers as the protocol uses them: CIDv1 with SHA-256, 36 bytes.

A CID travels as bytes inside this package, and as text (`bafyrei...`) outside of it.
Source of the form: https://atproto.com/specs/data-model#link-and-cid-formats
"""

from hashlib import sha256

from libipld import decode_cid, encode_cid

Cid = bytes
"""The 36 bytes of a CID, without the 0x00 that stands before them in CBOR."""

CID_BYTES = 36
DAG_CBOR = b"\x01\x71\x12\x20"
"""What the CIDs of records, of nodes and of commits begin with."""
RAW = b"\x01\x55\x12\x20"
"""What the CIDs of blobs begin with."""


def is_cid(value: bytes) -> bool:
    """Return whether `value` is a CID of a form that the protocol knows."""
    return len(value) == CID_BYTES and value[:4] in (DAG_CBOR, RAW)


def cid_of(block: bytes | memoryview) -> Cid:
    """Return the CID of a block of DAG-CBOR."""
    return DAG_CBOR + sha256(block).digest()


def cid_text(cid: Cid) -> str:
    """Return a CID as text. Raises ValueError where the bytes are none."""
    return encode_cid(cid)


def cid_from_text(text: str) -> Cid:
    """Return the bytes of a CID in base32. Raises ValueError where the text is no CID of a form that is known here."""
    parts = decode_cid(text)
    digest: bytes = parts["hash"]["digest"]
    cid = bytes((parts["version"], parts["codec"], parts["hash"]["code"], parts["hash"]["size"])) + digest
    if not is_cid(cid) or encode_cid(cid) != text:
        raise ValueError(f"no CID of the protocol: {text[:80]!r}")
    return cid
