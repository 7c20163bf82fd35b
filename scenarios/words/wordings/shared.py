"""Small pieces that many wordings use, by split: asides, hedges, lanes, causes, implied durations."""

from collections.abc import Mapping

Pieces = Mapping[str, Mapping[str, str]]

#: Sentences that say nothing; a share of bulletins has one before or after.
ASIDES = {
    "train": (
        "Please drive carefully.", "More to follow.", "Expect delays.", "Allow extra time.", "Follow the signs.",
        "Avoid the area if you can.", "Thank you for your patience.", "Traffic is building up.",
    ),
    "validation": ("Take care out there.", "Further details later.", "Queues are growing."),
    "held_out": ("Mind the staff on the road.", "We will keep you posted.", "Best to take another way."),
}  # fmt: skip

#: What makes a bulletin uncertain; %s is the bulletin.
HEDGES = {
    "train": (
        "Unconfirmed: %s", "Not verified yet: %s", "Caller says: %s Not confirmed.",
        "Rumour has it: %s", "%s Can anybody confirm?",
        "Possibly: %s", "%s But I am not sure.",
    ),
    "validation": ("Allegedly: %s", "%s Awaiting confirmation."),
    "held_out": ("Hearsay, nobody checked: %s", "%s Maybe, I only got this second hand."),
}  # fmt: skip

#: Lanes that are blocked, as a noun.
LANES = (
    "[one lane|a lane|1 lane|the left lane|the right lane|a single lane|the nearside lane|the middle lane]<lanes=1>",
    "[two lanes|2 lanes|both right-hand lanes|lanes 1 and 2]<lanes=2>",
    "[three lanes|3 lanes]<lanes=3>",
    "[all lanes|the whole road|the entire carriageway|every lane|the full width]<lanes=all>",
)

PIECES: Mapping[str, Pieces] = {
    "implied": {
        "train": {
            "short": (
                "[will be gone in a moment|being pushed to the kerb|only briefly|shortly cleared|nearly finished|a "
                "quick job]"
            ),
            "medium": "[tow truck ordered|recovery truck on the way|removal has begun|waiting for a breakdown truck]",
            "long": (
                "[crane ordered|investigators at work|for the rest of the day|for hours|heavy recovery needed|no "
                "end in sight|until further notice]"
            ),
        },
        "validation": {
            "short": "[almost sorted|over in no time]",
            "medium": "[tow service is coming|breakdown service called]",
            "long": "[for several hours|until tonight|specialist crane needed]",
        },
        "held_out": {
            "short": "[just being rolled aside|hardly worth mentioning]",
            "medium": "[flatbed is coming for it|wrecker summoned]",
            "long": "[a crane has to come first|nobody knows when it ends|well into the night]",
        },
    },
    "brief": {
        "train": {"short": "[cleared soon|back to normal in a few moments|only a few minutes]"},
        "validation": {"short": "[a matter of moments]"},
        "held_out": {"short": "[blink and it is gone]"},
    },
    "soon": {
        "train": {"medium": "[on the way|ordered|requested]"},
        "validation": {"medium": "[coming]"},
        "held_out": {"medium": "[summoned]"},
    },
    "fades": {
        "train": {"short": "[easing soon|passing quickly]"},
        "validation": {"short": "[short-lived]"},
        "held_out": {"short": "[a flying visit]"},
    },
    "stays": {
        "train": {"long": "[all day|for hours|until the evening]"},
        "validation": {"long": "[the whole day]"},
        "held_out": {"long": "[there to stay until night]"},
    },
}

CAUSES = {
    "train": "[gas leak|fire|burst pipe|fallen tree|police operation|demonstration|bomb scare|sinkhole]",
    "validation": "[flooding|wires down]",
    "held_out": "[a rockfall|loose roof tiles|an armed man]",
}

TOWNS = {
    "train": ("Barnstow", "Kelmere", "Oldwick", "Farholm", "Rivermouth", "Little Haddow", "Penmarsh", "Stonebury"),
    "validation": ("Wexcombe", "Thornaby Cross"),
    "held_out": ("Ashenford", "Grimsdale", "Port Hallow"),
}
