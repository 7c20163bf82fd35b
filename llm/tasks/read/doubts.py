"""What makes a bulletin hard to read, one sentence each; none stops the reading."""

from __future__ import annotations

import re
import unicodedata

from llm.tasks.read.options import MOST_CHARACTERS, sheet
from scenarios.words.truth import Bulletin

#: Words that nearly every English text of some length has one of.
_ENGLISH = frozenset(
    {
        "a", "about", "after", "all", "an", "and", "are", "as", "at", "be", "been", "before", "blocked", "but",
        "by", "cars", "closed", "crash", "for", "from", "has", "have", "in", "is", "it", "lane", "lanes", "near",
        "no", "not", "now", "of", "off", "on", "one", "or", "out", "road", "since", "street", "the", "there",
        "this", "to", "towards", "two", "until", "update", "vehicles", "we", "will", "with",
    }
)  # fmt: skip
#: Texts of fewer words may well have none.
_LEAST_WORDS = 6
_CLOCK = re.compile(r"(?<![\d.:])(\d{1,2}):(\d{2})(?![\d:])")


def doubts(bulletin: Bulletin, names: tuple[str, ...]) -> list[str]:
    """Sentences about a bulletin, in a fixed order; none for one that reads well.

    Args:
        bulletin: anything.
        names: of the streets and landmarks that it may tell of.
    """
    text = bulletin.text
    if not text.strip():
        return ["The bulletin is empty, so it says nothing."]
    found = []
    if len(text) > MOST_CHARACTERS:
        found.append(f"The bulletin has {len(text):,} characters; the first {MOST_CHARACTERS:,} are read.")
    if any(unicodedata.category(letter) == "Cc" and letter not in "\t\r\n" for letter in text):
        found.append("The bulletin has control characters, which are read as blanks.")
    page = sheet(bulletin, names)
    words = re.findall(r"[^\W\d_]+", page.text.lower())
    if len(words) >= _LEAST_WORDS and not _ENGLISH & set(words):
        found.append("The bulletin does not seem to be in English, which is the only language that is read.")
    if not page.places:
        found.append("The bulletin names no street or landmark of this network.")
    wrong = [clock[0] for clock in _CLOCK.finditer(page.text) if int(clock[1]) > 23 or int(clock[2]) > 59]
    if wrong:
        found.append(f"There is no time of day {' or '.join(wrong)}, so it is not read as one.")
    return found
