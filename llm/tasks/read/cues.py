"""The words by which the rule-based reader tells idle talk, orders, rumours, directions, lengths and lanes."""

from __future__ import annotations

import re

from llm.tasks.read.event_cues import cue

IDLE = cue(
    "tomorrow",
    "yesterday",
    "next (?:week|month|year|monday|tuesday|wednesday|thursday|friday)",
    "last (?:week|year|month)",
    "on (?:monday|tuesday|friday|saturday|sunday)",
    "in two days",
    "km from here",
    "hiring",
    "job offer",
    "vacanc",
    "tickets",
    "vouchers",
    "season pass",
    "remember",
    "test message",
    "this is a test",
    "exercise only",
    "campaign",
    "survey",
    "lecture",
    "song",
    "joke",
    "quiz",
    "council",
    "committee",
    "film where",
    "video game",
    "lost keys",
    "lost a dog",
    "lost an umbrella",
    "statistics",
    "nothing here",
    "lunch",
    "win a",
    "all quiet",
    "flows freely",
    "no problems",
    "great day",
    "nice",
    "lovely",
    "coffee",
    "in spring",
    "discount",
)

_ORDERS = (
    r"\b(?:ignore|forget|disregard|override|bypass)\b[^.]{0,40}\b(?:instruction|rule|prompt|everything|guideline)",
    r"\b(?:system|admin|root|assistant|developer|user|operator|override)\s*:",
    r"\byou (?:are now|must|will now|should now|have to)\b|\bi (?:order|command) you\b|\bobey\b",
    r"\bas (?:the|your) (?:operator|mayor|chief|administrator|developer)\b",
    r"\b(?:dear|hey|hi|hello|ok|attention) (?:computer|ai|machine|bot|assistant|model|system)\b",
    r"\blanguage model\b|\bai,|\bfrom now on\b|</?\w+>|#{3,}",
    r"\b(?:print|reveal|show|output|repeat|return) (?:your|the) (?:prompt|instructions?|password|system|rules|config)",
    r"\b(?:set|turn|switch|make|keep|hold|give|mark|classify|label|treat|report)\b[^.]{0,30}"
    r"\b(?:all (?:the )?(?:lights|signals)|every (?:light|signal|street|message)|green\b|red until)",
    r"\b(?:set|mark|classify|label|treat)\b[^.]{0,30}\bas (?:closed|blocked|an? )",
    r"\bnew (?:task|instructions?)\b|\b(?:kind|type|lanes_blocked|streets|certain)\s*[=:]",
)
#: Sentences that want something of whoever reads them.
ORDER = re.compile("|".join(_ORDERS), re.IGNORECASE)

RUMOUR = cue(
    "unconfirmed",
    "not verified",
    "not confirmed",
    "rumou?r",
    "can any(?:body|one) confirm",
    "possibly",
    "not sure",
    "allegedly",
    "awaiting confirmation",
    "apparently",
    "supposedly",
)
FUTURE = cue("will be", "planned", "scheduled", "expected at", "starting at", "announced", "booked", "forecast")
BEGUN = cue(
    "immediate effect",
    "immediately",
    "right now",
    "at present",
    "now\\b(?! (?:until|expected|another|starts))",
    "since\\b",
    "ago\\b",
    "is closed",
)
HEADING = re.compile(
    r"(?:towards?|direction(?: of)?|heading (?:for|to)|twds|dir\.)"
    r"\s+(?:the\s+)?$",
    re.IGNORECASE,
)
LENGTH_CUES = {
    "long": cue(
        "crane",
        "for hours",
        "several hours",
        "rest of the day",
        "all day",
        "whole day",
        "investigat",
        "heavy recovery",
        "no end in sight",
        "further notice",
        "until (?:the evening|tonight|night)",
        "scene is measured",
    ),
    "short": cue(
        "in a moment",
        "pushed to the kerb",
        "briefly",
        "shortly",
        "nearly finished",
        "quick job",
        "cleared soon",
        "few moments",
        "few minutes",
        "easing soon",
        "passing quickly",
        "almost sorted",
        "no time",
        "matter of moments",
        "short-lived",
    ),
    "medium": cue(
        "tow (?:truck|service)",
        "recovery truck",
        "removal has begun",
        "breakdown (?:truck|service)",
        "mechanic",
        "electrician",
        "technician",
    ),
}

ALL_LANES_CUE = cue(
    "all lanes",
    "whole road",
    "entire carriageway",
    "every lane",
    "full width",
    "completely (?:closed|blocked|shut)",
    "both directions",
    "all traffic",
    "no through traffic",
    "nobody can drive",
)
NO_LANES = cue("nothing blocked")
LANE_NUMBERS = {
    "one": 1,
    "a": 1,
    "single": 1,
    "the": 1,
    "1": 1,
    "two": 2,
    "2": 2,
    "both": 2,
    "both right-hand": 2,
    "three": 3,
    "3": 3,
    "lanes 1 and 2": 2,
    "lanes 2 and 3": 2,
    "four": 4,
    "4": 4,
}
LANES_LEFT = re.compile(
    r"\b(lanes \d and \d|both right-hand(?= lanes)|both(?= lanes)|(?:one|a|single|two|three|four|\d)(?= lanes?\b))",
    re.IGNORECASE,
)
VEHICLES_AFTER = re.compile(
    r"\s*(?:more\s+)?(?:\w+\s+)?(?:cars?|veh(?:icles?)?|trucks?|coaches|lorries|buses|vans)\b",
    re.IGNORECASE,
)
