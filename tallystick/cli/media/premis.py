"""A medium's history as PREMIS 3.0 (https://www.loc.gov/standards/premis/v3/), for archivists and their systems.

One intellectual entity for the medium, files for its image and its archive where their digests are known, an event for
each thing that was done or found, an agent for each that did or found it. Types of events are the terms of
https://id.loc.gov/vocabulary/preservation/eventType, outcomes those of …/eventOutcome; which is which stands in
docs/reference/premis.md. What XML can't carry is a visible escape, as on a terminal.
"""

import os
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import msgspec

from tallystick import __version__
from tallystick.cli.media.telling import Told
from tallystick.cli.terminal import safe
from tallystick.contracts.media import ARCHIVED, COPIED, ENUMERATED, IMAGED, LOADED, ExitCode, Medium, archive_name
from tallystick.contracts.stages import Verdict

NAMESPACE = "http://www.loc.gov/premis/v3"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "http://www.loc.gov/standards/premis/v3/premis.xsd"
_VOCABULARY = "http://id.loc.gov/vocabulary/preservation"
_LOCAL = "tallystick"

WORK = {
    IMAGED: "imaging",
    ENUMERATED: "metadata extraction",
    COPIED: "replication",
    ARCHIVED: "packing",
    "imported": "accession",
}
"""The type of the event that is the work of a stage."""
LOOK = {
    IMAGED: "fixity check",
    ENUMERATED: "validation",
    LOADED: "validation",
    COPIED: "fixity check",
    ARCHIVED: "fixity check",
}
"""The type of the event that is somebody else's look at it."""
TERMS = {
    "accession": "acc",
    "fixity check": "fix",
    "imaging": "ima",
    "ingestion end": "ine",
    "ingestion start": "ins",
    "message digest calculation": "mes",
    "metadata extraction": "mee",
    "packing": "pac",
    "replication": "rep",
    "validation": "val",
}
"""The terms of the vocabulary that are used here, with their codes."""
_SUCCESS, _WARNING, _FAIL = "success", "warning", "fail"
_OUTCOMES = {_SUCCESS: "suc", _WARNING: "war", _FAIL: "fai"}


class Event(msgspec.Struct, frozen=True):
    """An event of PREMIS: its type, and what was told that it comes from."""

    kind: str
    told: Told
    outcome: str = ""

    @property
    def identifier(self) -> str:
        """What tells it from all others: its place in the log, and its type, as one word may be two events."""
        return f"{self.told.place}#{TERMS[self.kind]}"


def as_premis(medium: Medium, history: Sequence[Told]) -> bytes:
    """Return the document, in UTF-8."""
    for prefix, uri in (("premis", NAMESPACE), ("xsi", _XSI)):
        ElementTree.register_namespace(prefix, uri)
    root = ElementTree.Element(_name("premis"), {"version": "3.0"})
    root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    _add_objects(root, medium, history)
    found = list(events(history))
    for event in found:
        _add_event(root, medium.medium, event)
    for name in dict.fromkeys(event.told.who for event in found):
        _add_agent(root, name)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def events(history: Sequence[Told]) -> Iterator[Event]:
    """Yield the events that a history consists of: each work and each look once, and each verdict.

    A run that has ended stands for the worker's claim and for its failure, which say the same of it.
    """
    runs = {told.run for told in history if told.event == "run ended"}
    ended = {(told.stage, told.attempt) for told in history if told.event == "run ended" and told.exit_code}
    for told in history:
        match told.event:
            case "identified":
                yield Event("ingestion start", told)
                if told.digest:
                    yield Event("message digest calculation", told, _SUCCESS)
            case "run ended" if kind := WORK.get(told.stage):
                yield Event(kind, told, _exited(told.exit_code))
            case "claimed" if told.run not in runs and (kind := WORK.get(told.stage)):
                yield Event(kind, told)
            case "failed" if (told.stage, told.attempt) not in ended and (kind := WORK.get(told.stage)):
                yield Event(kind, told, _FAIL)
            case "looked at" if kind := LOOK.get(told.stage):
                yield Event(kind, told)
            case "verdict":
                yield _verdict(told)


def _exited(code: int | None) -> str:
    return {ExitCode.DONE: _SUCCESS, ExitCode.LOSSES: _WARNING}.get(code or 0, _FAIL)


def _verdict(told: Told) -> Event:
    succeeded = told.outcome == Verdict.SUCCEEDED
    kind = "ingestion end" if succeeded and told.stage == ARCHIVED else "validation"
    return Event(kind, told, (_WARNING if told.detail else _SUCCESS) if succeeded else _FAIL)


def _add_objects(root: Element, medium: Medium, history: Sequence[Told]) -> None:
    entity = _add_object(root, "intellectualEntity", medium.medium)
    _add(entity, "originalName", medium.name)
    if medium.digest and medium.image:
        image = _add_object(root, "file", f"{medium.medium}/image")
        _add_characteristics(image, level=0, digest=medium.digest, size=medium.size, format_name="raw disk image")
        _add(image, "originalName", os.fsdecode(medium.image))
    archived = [told for told in history if told.stage == ARCHIVED and told.event == "looked at" and told.digest]
    if archived:
        archive = _add_object(root, "file", f"{medium.medium}/archive")
        size = archived[-1].counts.get("archive_bytes", 0)
        _add_characteristics(archive, level=1, digest=archived[-1].digest, size=size, format_name="tar, in Zstandard")
        _add(archive, "originalName", archive_name(medium.medium))


def _add_object(root: Element, kind: str, identifier: str) -> Element:
    found = _add(root, "object")
    found.set(f"{{{_XSI}}}type", f"premis:{kind}")
    _add_identifier(found, "object", identifier)
    return found


def _add_characteristics(parent: Element, *, level: int, digest: str, size: int, format_name: str) -> None:
    characteristics = _add(parent, "objectCharacteristics")
    _add(characteristics, "compositionLevel", str(level))
    fixity = _add(characteristics, "fixity")
    _add(fixity, "messageDigestAlgorithm", "BLAKE3")
    _add(fixity, "messageDigest", digest)
    _add(characteristics, "size", str(size))
    _add(_add(_add(characteristics, "format"), "formatDesignation"), "formatName", format_name)


def _add_event(root: Element, medium: str, event: Event) -> None:
    told = event.told
    found = _add(root, "event")
    _add_identifier(found, "event", event.identifier)
    _add_term(found, "eventType", event.kind, TERMS[event.kind], of="eventType")
    _add(found, "eventDateTime", told.at)
    about = "; ".join(filter(None, (f"stage {told.stage}, attempt {told.attempt}", told.detail)))
    _add(_add(found, "eventDetailInformation"), "eventDetail", about)
    notes = [f"{name}: {number}" for name, number in told.counts.items()]
    notes += [f"BLAKE3: {told.digest}"] if told.digest else []
    notes += [f"exit code: {told.exit_code}"] if told.exit_code is not None else []
    notes += [f"seconds: {told.seconds:.3f}"] if told.seconds is not None else []
    if event.outcome or notes:
        outcome = _add(found, "eventOutcomeInformation")
        if event.outcome:
            _add_term(outcome, "eventOutcome", event.outcome, _OUTCOMES[event.outcome], of="eventOutcome")
        if notes:
            _add(_add(outcome, "eventOutcomeDetail"), "eventOutcomeDetailNote", "; ".join(notes))
    _add_identifier(found, "linkingAgent", told.who)
    _add_identifier(found, "linkingObject", medium)


def _add_agent(root: Element, name: str) -> None:
    agent = _add(root, "agent")
    _add_identifier(agent, "agent", name)
    _add(agent, "agentName", f"Tallystick: {name}")
    _add(agent, "agentType", "software")
    _add(agent, "agentVersion", __version__)


def _add_identifier(parent: Element, what: str, value: str) -> None:
    identifier = _add(parent, f"{what}Identifier")
    _add(identifier, f"{what}IdentifierType", _LOCAL)
    _add(identifier, f"{what}IdentifierValue", value)


def _add_term(parent: Element, name: str, term: str, code: str, *, of: str) -> None:
    authority = {"authority": of, "authorityURI": f"{_VOCABULARY}/{of}", "valueURI": f"{_VOCABULARY}/{of}/{code}"}
    _add(parent, name, term).attrib.update(authority)


def _add(parent: Element, name: str, text: str = "") -> Element:
    element = ElementTree.SubElement(parent, _name(name))
    element.text = safe(text) or None
    return element


def _name(local: str) -> str:
    return f"{{{NAMESPACE}}}{local}"
