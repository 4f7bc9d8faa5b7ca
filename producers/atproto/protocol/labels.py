"""Labels: read one by one, their signatures checked, and which of two counts.

Sources: https://atproto.com/specs/label, the lexicon com.atproto.label.defs#label.
"""

from enum import StrEnum

import msgspec
from libipld import encode_dag_cbor

from producers.atproto.protocol.cbor import typed
from producers.atproto.protocol.faults import Refusal, shown
from producers.atproto.protocol.signatures import PublicKey, SignatureProblem
from tallystick.contracts import timestamps
from tallystick.contracts.atproto import Did, Label

MAX_VALUE_BYTES = 128
MAX_URI_CHARS = 8192
VERSION = 1
_SIGNED = ("ver", "src", "uri", "cid", "val", "neg", "cts", "exp")


class LabelReason(StrEnum):
    """Why something is no label."""

    FIELD = "field_unusable"
    VERSION = "version_unknown"
    VALUE = "value_unusable"
    URI = "uri_unusable"
    TIME = "time_unreadable"


class LabelError(Refusal[LabelReason]):
    """One label of a `#labels` can't be used; the others can."""


class _Fields(msgspec.Struct):
    src: Did
    uri: str
    val: str
    cts: str
    cid: str | msgspec.UnsetType = msgspec.UNSET
    neg: bool | msgspec.UnsetType = msgspec.UNSET
    exp: str | msgspec.UnsetType = msgspec.UNSET
    ver: int | msgspec.UnsetType = msgspec.UNSET
    sig: bytes | msgspec.UnsetType = msgspec.UNSET


def read_label(fields: dict[str, object], *, host: str, seq: int) -> Label:
    """Return one label of a `#labels`. Raises LabelError."""
    try:
        found = typed(fields, _Fields)
    except msgspec.ValidationError as error:
        raise LabelError(LabelReason.FIELD, str(error)[:200]) from error
    if found.ver not in (msgspec.UNSET, VERSION):
        raise LabelError(LabelReason.VERSION, f"{found.ver}, {VERSION} is expected")
    if not found.val.isprintable() or not 0 < len(found.val.encode()) <= MAX_VALUE_BYTES:
        raise LabelError(LabelReason.VALUE, shown(found.val))
    if not found.uri.startswith(("at://", "did:")) or not found.uri.isprintable() or len(found.uri) > MAX_URI_CHARS:
        raise LabelError(LabelReason.URI, shown(found.uri))
    for text in (found.cts, found.exp):
        if text is not msgspec.UNSET:
            _time(text)
    return Label(
        src=found.src,
        uri=found.uri,
        val=found.val,
        cts=found.cts,
        cid=found.cid,
        neg=found.neg,
        exp=found.exp,
        ver=found.ver,
        sig=b"" if found.sig is msgspec.UNSET else found.sig,
        host=host,
        seq=seq,
    )


def signed_bytes(label: Label) -> bytes:
    """Return what the signature of a label is for: DAG-CBOR of the specification's fields, as far as they are there."""
    found = {name: getattr(label, name) for name in _SIGNED}
    return encode_dag_cbor({name: value for name, value in found.items() if value is not msgspec.UNSET})


def label_problem(label: Label, key: PublicKey) -> SignatureProblem | None:
    """Return why the signature of a label is not that of its source's key (`#atproto_label`); None where it is."""
    return key.problem_of(label.sig, signed_bytes(label))


def newer(one: Label, other: Label) -> Label:
    """Return which of two labels of one identity counts: the newest `cts`.

    Of two that were made at once the retraction counts, and at last the greater signature, so that it is the same one
    in whichever order they came. Raises LabelError for a time that `read_label` would not have let through.
    """
    return max(one, other, key=lambda label: (_time(label.cts), label.neg is True, label.sig))


def _time(text: str) -> str:
    try:
        return timestamps.canonical(text)
    except ValueError as error:
        raise LabelError(LabelReason.TIME, str(error)[:200]) from error
