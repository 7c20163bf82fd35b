"""Detectors and signals."""

DETECTOR_OUTAGE = {
    "new": {
        "train": (
            "Loop {k} at {s}[ / {s2}|] counts [nothing|double|nonsense] since {since}[, replacement takes {for}|].",
            "We lost contact with the [sensors|detector cabinet] on {s} {ago} ago[, {implied}|].",
            "Radar [detector|sensor] over {s}[ towards {dir}|] covered by [snow|a poster|leaves][, cleaned in {for}|].",
            "[Detectors|Loops|Sensors|Induction loops] on {s}[ at {s2}| towards {dir}|] [failed|are "
            "dead|deliver no data|send nothing][ since {since}|][, repair takes {for}|, {implied}|].",
            "Detector [fault|outage|failure] {s}[ near {p}|][, {for}|, fixed by {until}|, technician {soon}|].",
            "[No counts|Zero readings|Missing data] from the [loops|cameras|sensors] on {s} {ago} ago.",
            "The camera [at|over] {s}[ by {s2}|] [is blind|is offline|shows a frozen picture][; {brief}|].",
        ),
        "validation": (
            "Sensor at {s} [stuck|silent][ since {since}|][, back in {for}|].",
            "Loop [card|wire] broken, {s} at {s2}, no traffic counts, {implied}.",
        ),
        "held_out": (
            "We are not getting [any pulses|a heartbeat] from the counters on {s}[ facing {dir}|][, expect {for}|].",
            "Measuring station {s}[ / {s2}|] has delivered rubbish since {since}.",
        ),
    },
    "announcement": {
        "train": (
            "[Detectors|Loops|Sensors] on {s} [will be switched off|go offline] [at {clock}|in {in}][ for "
            "{for}| until {until}|].",
            "Maintenance of the [loops|detectors] on {s}, {clock} to {until}, no data.",
        ),
        "validation": ("Counting loops on {s} out from {clock}, {for}.",),
        "held_out": ("At {clock} we unplug the sensors along {s}; data return {until}.",),
    },
}

SIGNAL_FAULT: dict[str, dict[str, tuple[str, ...]]] = {
    "new": {
        "train": (
            "[Junction|Crossing] {s} and {s2}: lights off after [a lightning strike|a power failure|a crash "
            "into the cabinet][, {implied}|, {for}|].",
            "Controller at {s}[ near {p}|] restarted itself, signals dark[ for {for}|].",
            "no green at {s} since {since}, lights broken <by=public_post,radio>",
            "[Traffic lights|Signals|Lights] [at|on] {s}[ and {s2}| near {p}|] [are out|failed|are dark|flash "
            "yellow|do not work][ since {since}|][, repair {for}|, {implied}|, electrician {soon}|].",
            "Signal [fault|failure|controller error] {s} / {s2}[, {for}|, fixed by {until}|].",
            "lights on {s}[ at {s2}|] stuck on red <by=public_post>",
            "[Power cut|Lamp failure|Cable fault] at the [lights|signal] on {s}, {implied}.",
            "The [signal|traffic light] towards {dir} at {s} [stays red|shows nothing].",
        ),
        "validation": (
            "Traffic light [defect|broken] {s}[ corner {s2}|][, back in {for}|].",
            "Junction {s} with {s2} has no working signals[, {implied}|].",
        ),
        "held_out": (
            "Every lamp at {s}[ and {s2}|] went black {ago} ago[; crew needs {for}|].",
            "The green never comes at {s}[ for those going to {dir}|], controller hangs[, {implied}|].",
        ),
    },
    "announcement": {
        "train": (
            "Signals at {s} [will be switched off|go to flashing] [at {clock}|in {in}] for [maintenance|a lamp "
            "change][, {for}|].",
        ),
        "validation": ("We turn off the lights at {s} at {clock}, {for}.",),
        "held_out": ("A new controller is fitted at {s} from {clock}; signals dark until {until}.",),
    },
}
