"""Keeps the key out of all that a server's words get into: answers, headers, status lines, errors and log lines."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import logging
import re
from functools import lru_cache
from urllib.parse import quote, quote_plus

#: Shorter keys are no secrets but placeholders for servers at home, such as EMPTY, and may be ordinary words. So many
#: letters of a longer one are not shown either: some servers repeat all but the last four.
SECRET_CHARS = 8
MASK = "[key]"
#: Loggers of the HTTP client: its lines show the status line and the headers that a server sends.
CLIENT_LOGGERS = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
_ESCAPED = re.compile(r"\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|%(?:25)*([0-9a-f]{2})", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def without_key(said: bytes | str, key: str) -> str:
    """A text that repeats neither the key nor a part of it, however it is escaped.

    Where the key shows only after several escapes are undone, nothing of the text is left.
    """
    text = said if isinstance(said, str) else said.decode("utf-8", "replace")
    if len(key) < SECRET_CHARS:
        return text
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text))  # one way to escape
    text = _masked(text, key)
    plain = text
    for _ in range(4):
        plain = html.unescape(_ESCAPED.sub(_letter, plain))
        if _parts(plain, key) or _parts(plain.replace("\\", ""), key):
            return MASK
    return text


def without_secrets(said: str, key: str) -> str:
    """The same for a line of an error, and without the passwords of addresses, such as a proxy's."""
    return _PASSWORD.sub("[password]", without_key(said, key))


class KeyFilter(logging.Filter):
    """Takes the key out of log lines."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, with a text that does not hold the key."""
        record.msg, record.args = without_key(record.getMessage(), self.key), ()
        return True


def hide_from_logs(key: str) -> KeyFilter:
    """Put a filter on the loggers of the HTTP client; see ``show_in_logs``."""
    hiding = KeyFilter(key)
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).addFilter(hiding)
    return hiding


def show_in_logs(hiding: KeyFilter) -> None:
    """Take it off again."""
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).removeFilter(hiding)


def _letter(found: re.Match[str]) -> str:
    return chr(int(next(filter(None, found.groups())), 16))


def _masked(text: str, key: str) -> str:
    """Every stretch that is made of parts of the key as one mask."""
    shown, end = [], 0
    for first, last in _parts(text, key):
        shown += [text[end:first], MASK]
        end = last
    return "".join([*shown, text[end:]])


def _parts(text: str, key: str) -> list[tuple[int, int]]:
    """Where parts of the key stand, overlapping and adjoining ones joined, in order."""
    lower = text.lower()
    if len(lower) != len(text):  # letters whose small form is two letters
        lower = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    starts = []
    for part in _windows(key):
        at = lower.find(part)
        while at >= 0:
            starts.append(at)
            at = lower.find(part, at + 1)
    joined: list[tuple[int, int]] = []
    for start in sorted(starts):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], start + SECRET_CHARS
        else:
            joined.append((start, start + SECRET_CHARS))
    return joined


@lru_cache(maxsize=8)
def _windows(key: str) -> frozenset[str]:
    """Every stretch of ``SECRET_CHARS`` letters of the key in the ways in which it may be written."""
    ways = {key, quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1], html.escape(key)}
    for before in range(3):  # base64 differs with what stands before
        coded = base64.b64encode(b" " * before + key.encode()).decode().rstrip("=")
        ways.add(coded[(0, 2, 3)[before] : -1])
    small = [way.lower() for way in ways]
    return frozenset(way[at : at + SECRET_CHARS] for way in small for at in range(len(way) - SECRET_CHARS + 1))
