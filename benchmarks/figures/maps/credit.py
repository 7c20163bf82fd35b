"""Who made a map: what its licence asks to be shown wherever the map, or a run on it, is drawn."""

from __future__ import annotations

import re

#: A licence that asks for a credit names its holder so.
_HOLDER = re.compile(r"©|\(c\)|OpenStreetMap", re.IGNORECASE)
_ADDRESS = re.compile(r",?\s*https?://\S+")


def credit(licence: str) -> str:
    """The line to show beside a drawing of a scenario's streets, without addresses; empty where none is asked for.

    The licence of a scenario that ``greenloop import`` made is such a line already; others, such as RESCO's, say of
    their roads that they come from OpenStreetMap.
    """
    text = _ADDRESS.sub("", licence).strip()
    if not _HOLDER.search(text):
        return ""
    if "openstreetmap" in text.lower() and "©" not in text:
        return "Map data © OpenStreetMap contributors, ODbL"
    return text[0].upper() + text[1:]


def address(licence: str) -> str:
    """Where the licence can be read; empty where it does not say."""
    found = re.search(r"https?://\S+", licence)
    return found[0] if found else ""
