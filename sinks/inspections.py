"""Which kinds of source are looked at, and how."""

from collections.abc import Mapping

from sinks.atproto.looks import INSPECTION as REPOSITORIES
from sinks.looking import Inspection
from sinks.media.looks import INSPECTION as MEDIA
from tallystick.contracts.atproto import REPOSITORY_KIND
from tallystick.contracts.media import Form

NOBODY = Inspection(looks={}, tables=frozenset(), is_known=lambda *_: True)
"""How a kind is looked at that this version does not know: it says so."""

INSPECTIONS: Mapping[str, Inspection] = {form.kind: MEDIA for form in Form} | {REPOSITORY_KIND: REPOSITORIES}
"""By kind."""
