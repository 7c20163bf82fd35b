"""Updates, corrections, all clear and retractions; ``{thing}`` is the event as one speaks of it."""

THINGS = {
    "train": {
        "crash": "[crash|accident|collision]",
        "breakdown": "[broken-down vehicle|breakdown|stalled truck]",
        "roadworks": "[roadworks|works|construction]",
        "road_closure": "[closure|road closure]",
        "demand_surge": "[event traffic|departure of the visitors|crowd from the match]",
        "detector_outage": "[detector outage|loop fault|sensor failure]",
        "signal_fault": "[signal fault|traffic light failure]",
        "emergency_vehicle": "[ambulance|fire engine|blue-light run]",
        "weather": "[rain|snow|fog|storm|ice]",
    },
    "validation": {
        "crash": "traffic accident",
        "breakdown": "stranded lorry",
        "roadworks": "paving job",
        "road_closure": "full closure",
        "demand_surge": "concert traffic",
        "detector_outage": "loop failure",
        "signal_fault": "[traffic light defect|signal failure]",
        "emergency_vehicle": "ambulance run",
        "weather": "[downpour|snowfall]",
    },
    "held_out": {
        "crash": "[smash|collision scene]",
        "breakdown": "[dead truck|defective van]",
        "roadworks": "[road repair|excavation]",
        "road_closure": "[shutdown|road block]",
        "demand_surge": "[stadium crowd|visitor traffic]",
        "detector_outage": "[silent loops|dead counters]",
        "signal_fault": "[dark lights|signal breakdown]",
        "emergency_vehicle": "[rescue trip|siren run]",
        "weather": "[icy spell|cloudburst]",
    },
}

CHANGES = {
    "update": {
        "train": (
            "About the {thing} on {s}: it will last {for}[, sorry|].",
            "[Revised|New] estimate for the {thing}, {s}: {until}.",
            "We now expect the {thing} on {s} to end at {until}.",
            "Start of the {thing} on {s} put back to {clock}.",
            "Still {thing} on {s}, {lanes} blocked, {implied}.",
            "Update [on|regarding] the {thing} on {s}: now [until {until}|expected to last {for}|another {more}].",
            "Correction: the {thing} [is on {s}, not on {other}|on {s} takes {for}, not {wrong}].",
            "{s}, {thing}: [extended until {until}|delayed, {more} more|will take longer, {implied}].",
            "[New information|Latest] about the {thing} on {s}: {lanes} [still blocked|closed now].",
            "The {thing} on {s} [has been moved to {clock}|now starts at {clock}|is postponed to {clock}].",
            "Follow-up: {thing} {s} [continues|goes on] for {for}.",
            "Change of plan, the {thing} on {s} begins in {in}.",
        ),
        "validation": (
            "As to the {thing} on {s}: make that {for}.",
            "{thing} at {s} revised, start {clock}.",
        ),
        "held_out": (
            "Regarding our earlier word on the {thing}, {s}: it drags on till {until}.",
            "We were wrong about {s}: the {thing} needs {for}, not {wrong}.",
            "Shifted: {thing} on {s}, fresh start {clock}.",
        ),
    },
    "over": {
        "train": (
            "[Good news|Finally]: the {thing} on {s} is history.",
            "{thing} on {s} ended [early|as planned], you may pass[ at {s2}|].",
            "Barriers away, {thing} on {s} complete.",
            "We are done with the {thing} on {s}[ near {p}|].",
            "[All clear|Cleared|Resolved|Done]: {thing} on {s}[ at {s2}|][, all lanes open|, traffic flows again|].",
            "The {thing} on {s}[ near {p}|] is [over|finished|cleared][ since {stamp}|].",
            "{s}[ towards {dir}|]: {thing} [ended|gone|removed], [everything open|back to normal].",
            "{s} is free again, {thing} over.",
            "{thing} on {s} fixed, [thanks|normal operation].",
        ),
        "validation": ("No more {thing} on {s}, drive on.", "{s} open again after the {thing}."),
        "held_out": (
            "{thing} behind us: {s} runs smoothly once more.",
            "You can use {s} as usual, the {thing} has been dealt with[ at {stamp}|].",
        ),
    },
    "retraction": {
        "train": (
            "Sorry, wrong report: there is no {thing} on {s}.",
            "Hoax call, no {thing} on {s}.",
            "[Event|Notice] cancelled: {thing} on {s} does not take place.",
            "Our post about the {thing} on {s} was wrong, please delete it.",
            "[False alarm|Retraction|Withdrawn]: [no|there was no] {thing} on {s}.",
            "[Please ignore|Disregard|Cancel] [our|the] [earlier|last] [report|message] of {stamp}: no {thing} "
            "on {s}[ near {p}|].",
            "The {thing} [announced for|reported on] {s} [is cancelled|did not happen|will not take place].",
            "We withdraw the notice about the {thing} on {s}[, it was a mistake|].",
        ),
        "validation": ("Nothing there after all: {thing} on {s} was a misreport.", "{thing} on {s} called off."),
        "held_out": (
            "Forget what we said about {s}, the {thing} never existed.",
            "{thing} at {s}: reported in error, take it back.",
        ),
    },
}
