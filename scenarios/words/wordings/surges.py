"""Crowds that leave or arrive."""

DEMAND_SURGE = {
    "announcement": {
        "train": (
            "Attendance at {p} is high today: after the final at {clock} some {n} cars leave[ through {s}|].",
            "[School play|Graduation|Open day] at {p} finishes {clock}, parents with {n} cars[ on {s}|].",
            "Be ready for {n} extra [cars|vehicles] on {s} from {clock}[, direction {dir}|][ for {for}|].",
            "Flea market at {p} closes in {in}; {n} vehicles pack up and drive off[ along {s}|].",
            "Staff of {p} ({n} cars) go home at {clock}.",
            "{n} wedding guests drive from {p} in {in}[ via {s}|].",
            "[Match|Game|Concert|Show|Fair|Meeting] at {p} [ends|finishes|is over] [at {clock}|around "
            "{clock}|in {in}], [about|approximately|some|] {n} [cars|vehicles] [will leave|expected][ via {s}| "
            "along {s} towards {dir}|].",
            "[We expect|Expect|Prepare for] {n} [cars|vehicles] [from|leaving] {p}[ onto {s}|] [from "
            "{clock}|in {in}][, spread over {for}|].",
            "{p}: end of [event|shift|lessons|performance] {clock}, {n} vehicles[ towards {dir}|].",
            "[Our|The] [festival|tournament|congress] at {p} starts at {clock}; {n} [cars|vehicles] arrive "
            "[by|on] {s}[ within {for}|].",
            "[Shift change|School's out|Visiting hours end] at {p} in {in}, around {n} cars[ on {s}|].",
            "A convoy of {n} [vehicles|trucks|coaches] leaves {p} at {clock}[ along {s}| for {dir}|]. "
            "<by=police,transit,contractor>",
            "{n} [cars|vehicles] come off the [ferry|car train] at {clock} and use {s}.",
            "gig at {p} done at {clock}, gonna be {n} cars on {s} <by=public_post,event_organiser>",
        ),
        "validation": (
            "Doors of {p} open for the way home {clock}: {n} cars[, mostly via {s}|].",
            "In {in} the crowd heads home from {p}, {n} vehicles[ in the direction of {dir}|].",
        ),
        "held_out": (
            "[Curtain falls|Floodlights go out] at {p} {clock}; reckon with {n} cars[ squeezing into {s}|].",
            "[Car parks|Garages] of {p} empty in {in}. That makes {n} vehicles[ bound for {dir}|][ during {for}|].",
            "{n} drivers will set out from {p} in {in}[, all by way of {s}|].",
        ),
    },
    "new": {
        "train": (
            "Game over at {p} <begin=0>: {n} cars start moving[ along {s}|].",
            "Lots of cars coming out of {p} since {since}[, roughly {n} vehicles|][, heading to {dir}|].",
            "[Visitors|Fans|Spectators] are leaving {p} [now <begin=0>|since {since}], {n} [cars|vehicles][ on {s}|].",
            "Heavy outflow from {p}[ onto {s}|][, {n} cars|][, will last {for}|].",
        ),
        "validation": ("{p} is emptying right now <begin=0>, {n} cars[ into {s}|].",),
        "held_out": ("The crowd at {p} has been pouring out since {since}: {n} cars[ via {s}|].",),
    },
}
