"""DID documents: where one is asked for, and what it says of an account.

Source of the rules: https://atproto.com/specs/did, https://atproto.com/specs/handle
"""

import re
from collections.abc import Mapping

import msgspec

from producers.atproto.directory import Identity, Unresolvable
from producers.atproto.hosts import host_of
from producers.atproto.protocol.faults import shown
from producers.atproto.protocol.signatures import LABELER_KEY, REPOSITORY_KEY, PublicKey, UnusableKey, key_of
from tallystick.errors import UsageError

PDS_SERVICE = "#atproto_pds"

_PLC = re.compile("did:plc:[a-zA-Z0-9]{1,64}")
_WEB = re.compile(r"did:web:((?:[a-zA-Z0-9-]{1,63}\.)+[a-zA-Z][a-zA-Z0-9-]{0,62}|localhost(?:%3[Aa][0-9]{1,5})?)")
_HANDLE = re.compile(r"(?=.{3,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


def document_url(did: str, plc_url: str) -> tuple[str, bool]:
    """Return where the document of `did` is, and whether that is the directory of `did:plc`, not the account's host.

    Raises Unresolvable where the DID is of no method of the protocol, or malformed for its method.
    """
    if _PLC.fullmatch(did):
        return f"{plc_url.rstrip('/')}/{did}", True
    if found := _WEB.fullmatch(did):
        host = found[1].replace("%3A", ":").replace("%3a", ":")
        scheme = "http" if host.startswith("localhost") else "https"
        return f"{scheme}://{host}/.well-known/did.json", False
    raise Unresolvable(f"{shown(did)}: neither a did:plc nor a did:web of a host")


def identity_of(did: str, document: Mapping[str, object]) -> Identity:
    """Return what the document of `did` says; what it lacks, or has in a form that can't be used, is its `problem`."""
    if document.get("id") != did:
        return Identity(did=did, problem=f"the document is of {shown(document.get('id'))}")
    problems: list[str] = []
    key = _key(document, REPOSITORY_KEY, problems)
    labeler_key = _key(document, LABELER_KEY, [])
    pds = _pds(did, document.get("service"), problems)
    handle = _handle(document.get("alsoKnownAs"))
    return Identity(did=did, key=key, labeler_key=labeler_key, pds=pds, handle=handle, problem="; ".join(problems))


def _key(document: Mapping[str, object], id_: str, problems: list[str]) -> PublicKey | None:
    try:
        return key_of(document, id_)
    except UnusableKey as error:
        problems.append(str(error))
        return None


class _Service(msgspec.Struct, rename="camel"):
    id: str = ""
    type: str = ""
    service_endpoint: object = ""


def _pds(did: str, services: object, problems: list[str]) -> str:
    try:
        found = msgspec.convert(services if services is not None else [], list[_Service])
    except msgspec.ValidationError as error:
        problems.append(f"services: {str(error)[:200]}")
        return ""
    for service in found:
        if service.id in (PDS_SERVICE, did + PDS_SERVICE) and service.type == "AtprotoPersonalDataServer":
            try:
                return host_of(str(service.service_endpoint)).http
            except UsageError as error:
                problems.append(f"its host: {error}")
                return ""
    problems.append(f"no service {PDS_SERVICE}")
    return ""


def _handle(names: object) -> str:
    """Return the first handle that is one; nobody has asked its domain whether it agrees."""
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name.startswith("at://") and _HANDLE.fullmatch(handle := name[5:].lower()):
            return handle
    return ""
