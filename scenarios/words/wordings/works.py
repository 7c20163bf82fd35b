"""Roadworks and closures."""

ROADWORKS = {
    "announcement": {
        "train": (
            "[From|Beginning] {clock} [drilling|kerb repair|tree cutting|street cleaning] takes place on {s}[ "
            "close to {p}|]; {lanes} will not be available[ until {until}|].",
            "Traffic management notice: {s}, lane closure ({lanes}) {clock}-{until}[, contractor {k}|]. "
            "<by=road_authority,contractor>",
            "Heads-up, in {in} we put a [skip|lorry|cherry picker] on {s}[ near {s2}|], {lanes} needed for "
            "{for}. <by=contractor>",
            "Window cleaning at {p}: {lanes} of {s} closed from {clock} for {for}.",
            "Emergency repair of a [water pipe|gas pipe|manhole cover] starts in {in} on {s}, {lanes} closed, "
            "{implied}.",
            "[Roadworks|Road works|Maintenance|Resurfacing] on {s}[ near {s2}| towards {dir}|] [from "
            "{clock}|starting at {clock}|as of {clock}][ until {until}| to {until}|, duration {for}|], {lanes} "
            "[closed|out of use].",
            "We [start|begin] [digging|paving|line marking|pothole repairs] on {s} in {in}[, {lanes} "
            "closed|][, finished after {for}|, {implied}|]. <by=contractor>",
            "[Planned|Scheduled] [works|construction] {s}: {clock} - {until}, {lanes} [closed|coned off].",
            "[The water company|The gas company|A utility crew] will open [the road|the surface] on {s}[ "
            "between {s2} and {s3}|] at {clock}; {lanes} [lost|closed] for {for}.",
            "[Please be aware that|Note:] {lanes} of {s}[ in direction {dir}|] will be closed for "
            "[cable|drainage|kerb] work from {clock}, {for} in total.",
            "our crew sets up cones on {s}[ by {p}|] in {in}, need {lanes} for {for} <by=contractor>",
            "Roadworks will [narrow|restrict] {s} from {clock}, expect delays.",
        ),
        "validation": (
            "[Asphalt|Manhole] job booked at {clock} on {s}[ at the corner of {s2}|]. {Lanes} fenced off, "
            "ready by {until}.",
            "In {in} [a crew|our team] takes {lanes} of {s} for {for} to fix [a leak|the kerb].",
        ),
        "held_out": (
            "Expect [excavators|a milling machine] on {s}[ beside {p}|] {clock} onwards; {lanes} handed over "
            "to the crew, given back at {until}.",
            "Notice of occupation: {s}[, side of {dir}|], {lanes}, commencing in {in}, estimated {for}.",
            "[Fibre|Pipe] laying moves to {s} at {clock}. It costs drivers {lanes}[ and {for} of patience|].",
        ),
    },
    "new": {
        "train": (
            "[Roadworks|Works|Construction] on {s}[ near {s2}|] [since {since}|under way], {lanes} "
            "[closed|blocked][, until {until}|, another {more}|].",
            "Crew is working on {s}[ towards {dir}|], {lanes} coned off[, done in {for}|, {implied}|].",
            "they are digging up {s} again[ by {p}|], {lanes} closed <by=public_post>",
        ),
        "validation": ("Workers [on|all over] {s}, {lanes} fenced[, {more} left|].",),
        "held_out": ("Cones and diggers have been out on {s} since {since}; {lanes} unavailable[ till {until}|].",),
    },
}

ROAD_CLOSURE = {
    "announcement": {
        "train": (
            "Please note that {s} cannot be used <lanes=all> from {clock}[ to {until}|] because of [a parade|a "
            "bike race|a market|filming].",
            "[Level crossing|Bridge] on {s} closes to road traffic at {clock} <lanes=all> for {for}.",
            "State visit: {s} closed to the public in {in} <lanes=all>, duration {for}. <by=police>",
            "Access ban on {s} [between {s2} and {s3}|towards {dir}|] starting {clock} <lanes=all>, ending {until}.",
            "{s} [will be closed|closes|is to be closed] [from {clock}|at {clock}][ until {until}| for "
            "{for}|][ between {s2} and {s3}| towards {dir}|] <lanes=all>[ for a marathon| for a film shoot| "
            "for a procession| because of an event|].",
            "[Road closure|Full closure] {s}, {clock} to {until} <lanes=all>[, reason: crane work|, reason: "
            "street festival|].",
            "We [close|shut] {s}[ at {s2}|] in {in} <lanes=all>, [for about {for}|reopening at {until}|{implied}].",
            "[Escort|Motorcade|Protest march]: {s} shut to all traffic in {in}[ for {for}|] <lanes=all>. <by=police>",
            "[Marathon|Cycle race] passes {s} from {clock}, no through traffic[ for {for}| until {until}|] "
            "<lanes=all>.",
            "No entry to {s}[ from {s2}|] as of {clock} <lanes=all>[; {for}|].",
        ),
        "validation": (
            "[Complete|Total] shutdown of {s} <lanes=all> planned at {clock}, [lasting {for}|ends {until}].",
            "From {clock} nobody can drive on {s}[ past {p}|] <lanes=all>, reopened {until}.",
        ),
        "held_out": (
            "Barriers go [down|across] {s}[ at {p}|] in {in} <lanes=all>[ and are lifted {for} later|].",
            "{s} out of bounds for cars, {clock} through {until} <lanes=all>[: carnival|: demolition].",
            "[Runners|Demonstrators] take over all of {s} at {clock} <lanes=all>; allow {for}.",
        ),
    },
    "new": {
        "train": (
            "Do not enter {s}[ from {s2}|], it is closed <lanes=all>: {cause}[, {implied}|].",
            "[Firefighters|Police|Engineers] have closed {s}[ near {p}|] <lanes=all>, {cause}, [we expect "
            "{for}|reopening not before {until}].",
            "{s} [is closed|has been closed|is shut|is completely blocked][ in both directions|][ between {s2} "
            "and {s3}| at {s2}| near {p}|][ since {since}|] <lanes=all>[, {cause}|][, {implied}|, for {for}|, "
            "until {until}|].",
            "[Road closed|Closure]: {s}[ towards {dir}|] <lanes=all>, {cause}[, about {for}|, {implied}|].",
            "[Fallen tree|Gas leak|Burst water main|Subsidence|Suspicious object] on {s}[ by {s2}|], road "
            "[closed|sealed off] <lanes=all>[, {implied}|, {for}|].",
            "cant get through {s}, police closed everything[ near {p}|] <lanes=all> <by=public_post>",
            "{s} [closed|shut] with immediate effect <begin=0> <lanes=all>, {cause}.",
        ),
        "validation": (
            "Impassable: {s} <lanes=all>[ from {s2} on|], {cause}[, reopens {until}|].",
            "All traffic stopped on {s} <lanes=all>, {cause}, {implied}.",
        ),
        "held_out": (
            "Nothing moves on {s}[ in both directions|], we sealed it <lanes=all> because of {cause}[; count "
            "on {for}|].",
            "Turn round before {s}[ if you come from {s2}|]: shut completely <lanes=all>[, {implied}|].",
            "Cordon around {s}[ and {p}|], no vehicles let in <lanes=all>, {ago} already.",
        ),
    },
}
