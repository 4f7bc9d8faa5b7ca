"""AT Protocol for tests: captured frames, an honest repository to make commits with, and trees built by the book."""

import gzip
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import coincurve
import libipld

from producers.atproto.protocol.cids import Cid, cid_of
from producers.atproto.protocol.mst import layer_of
from producers.atproto.protocol.signatures import LABELER_KEY, Curve, PublicKey, key_of
from tallystick.contracts.tids import tid_at

FIXTURES = Path(__file__).parent / "fixtures" / "atproto"
SAMPLES = Path(__file__).parents[2] / "shared" / "samples" / "atproto"
LABELER = "did:plc:ranti725vb5mlib4lin5xd7a"
NOW_US = 1_795_406_900_000_000
"""A few seconds after the captured frames, in microseconds since 1970."""


def content(name: str) -> bytes:
    """Return a fixture as it was captured."""
    return gzip.decompress((FIXTURES / f"{name}.gz").read_bytes())


def frames(name: str) -> Iterator[bytes]:
    """Yield each frame of a capture."""
    data, at = content(name), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4])
        yield data[at + 4 : end]
        at = end


def keys() -> dict[str, PublicKey]:
    """Return the key of each captured account, and of the labeler."""
    documents = json.loads((FIXTURES / "did_docs.json").read_text())
    return {did: key_of(document, LABELER_KEY if did == LABELER else "#atproto") for did, document in documents.items()}


def cbor(value: object) -> bytes:
    """Return canonical DAG-CBOR; the bytes of a CID become a link."""
    return libipld.encode_dag_cbor(value)


def frame(kind: str, body: Mapping[str, object]) -> bytes:
    """Return a frame with the usual header."""
    return cbor({"t": kind, "op": 1}) + cbor(dict(body))


def varint(number: int) -> bytes:
    """Return an unsigned LEB128 number."""
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def section(cid: bytes, block: bytes) -> bytes:
    """Return one block as a CAR has it."""
    return varint(len(cid) + len(block)) + cid + block


def car(root: Cid, blocks: Mapping[Cid, bytes]) -> bytes:
    """Return a CAR."""
    header = cbor({"version": 1, "roots": [root]})
    return varint(len(header)) + header + b"".join(section(cid, block) for cid, block in blocks.items())


def node(left: Cid | None, *entries: tuple[int, bytes, Cid, Cid | None]) -> bytes:
    """Return the block of a node, entries being (p, k, v, t)."""
    return cbor({"l": left, "e": [{"p": p, "k": k, "v": v, "t": t} for p, k, v, t in entries]})


def tree_by_the_book(records: Mapping[bytes, Cid]) -> tuple[Cid, dict[Cid, bytes]]:
    """Return the root and the nodes of the tree of `records`, made layer by layer as the specification tells."""
    blocks: dict[Cid, bytes] = {}

    def subtree(keys: list[bytes], layer: int) -> Cid | None:
        if not keys:
            return None
        groups: list[list[bytes]] = [[]]
        mine = []
        for key in keys:
            if layer_of(key) == layer:
                mine.append(key)
                groups.append([])
            else:
                groups[-1].append(key)
        links = [subtree(group, layer - 1) for group in groups]
        entries, before = [], b""
        for key, link in zip(mine, links[1:], strict=True):
            shared = 0
            while before[: shared + 1] == key[: shared + 1] and shared < len(before):
                shared += 1
            entries.append((shared, key[shared:], records[key], link))
            before = key
        return keep(node(links[0], *entries))

    def keep(block: bytes) -> Cid:
        blocks[cid_of(block)] = block
        return cid_of(block)

    ordered = sorted(records)
    root = subtree(ordered, max(map(layer_of, ordered), default=0))
    return root or keep(node(None)), blocks


class Repository:
    """An honest repository of an honest account: every commit is as a host sends it, with the whole tree as proof."""

    def __init__(self, name: str = "honest", start_us: int = NOW_US - 60_000_000) -> None:
        self.did = f"did:plc:{name}"
        self._private = coincurve.PrivateKey(sha256(name.encode()).digest())
        self.key = PublicKey(Curve.K256, self._private.public_key.format())
        self._clock, self._seq = start_us, 0
        self.rev: str | None = None
        self.data: Cid | None = None
        self.records: dict[str, Cid] = {}
        self.blocks: dict[Cid, bytes] = {}
        self.signed = b""

    def document(self) -> dict[str, object]:
        """Return the DID document, with the key alone."""
        method = {"id": f"{self.did}#atproto", "type": "Multikey", "controller": self.did}
        method["publicKeyMultibase"] = self.key.did_key().removeprefix("did:key:")
        return {"id": self.did, "verificationMethod": [method]}

    def export(self) -> bytes:
        """Return the CAR of the whole repository, as `getRepo` has it."""
        _, nodes = tree_by_the_book({path.encode(): cid for path, cid in self.records.items()})
        records = {cid: self.blocks[cid] for cid in self.records.values()}
        return car(cid_of(self.signed), {cid_of(self.signed): self.signed, **nodes, **records})

    def sign(self, fields: Mapping[str, object]) -> bytes:
        """Return the block of a commit object with `fields`, signed."""
        r_s = _compact(self._private.sign(cbor(dict(fields))))
        return cbor({**fields, "sig": r_s})

    def commit(self, changes: Mapping[str, Mapping[str, object] | None]) -> dict[str, object]:
        """Carry out `changes` (path to the new record, None to delete it) and return the body of the `#commit`."""
        ops: list[dict[str, object]] = []
        since, before, touched = self.rev, self.data, {}
        for path, record in changes.items():
            previous = self.records.pop(path, None)
            op: dict[str, object] = {"path": path, "cid": None}
            if record is not None:
                block = cbor(dict(record))
                op["cid"] = self.records[path] = cid_of(block)
                touched[cid_of(block)] = self.blocks[cid_of(block)] = block
            op["action"] = "delete" if record is None else "update" if previous else "create"
            ops.append(op if previous is None else {**op, "prev": previous})
        self._clock, self._seq = self._clock + 1000, self._seq + 1
        self.rev = tid_at(self._clock)
        self.data, nodes = tree_by_the_book({path.encode(): cid for path, cid in self.records.items()})
        signed = self.sign({"did": self.did, "version": 3, "rev": self.rev, "prev": None, "data": self.data})
        self.signed = signed
        body = {
            "seq": self._seq,
            "repo": self.did,
            "commit": cid_of(signed),
            "rev": self.rev,
            "since": since,
            "blocks": car(cid_of(signed), {cid_of(signed): signed, **nodes, **touched}),
            "ops": ops,
            "time": "2026-11-23T04:08:00.000Z",
            "rebase": False,
            "tooBig": False,
            "blobs": [],
        }
        return body if before is None else {**body, "prevData": before}


def _compact(der: bytes) -> bytes:
    """Return a DER signature as r and s of 32 bytes each."""
    length = der[3]
    r, s = der[4 : 4 + length], der[6 + length :]
    return b"".join(int.from_bytes(part).to_bytes(32) for part in (r, s))
