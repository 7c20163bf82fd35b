"""Emergency vehicles on their way."""

EMERGENCY_VEHICLE = {
    "new": {
        "train": (
            "Responding: {from} to {to}, [cardiac arrest|kitchen fire|gas smell|child birth], siren.",
            "Police convoy with sirens moves from {from} to {to}[, arriving in {for}|]. <by=police>",
            "Intensive care transport left {from} {ago} ago, going to {to}.",
            "fire truck on the way from {from} to {to} right now <begin=0> <by=public_post>",
            "[Ambulance|Fire engine|Rescue vehicle|Police car|Engine {k}] [on its way|en route|responding] "
            "from {from} to {to}[, blue lights|][, left {ago} ago|][, arrival in {for}|].",
            "[Emergency run|Blue-light run|Urgent transport] {from} to {to}[ now <begin=0>| immediately <begin=0>|].",
            "[Fire|Building fire|Chest pain|Unconscious person] at {to}; [ambulance|engine|crew] [comes "
            "from|started from] {from}[ at {since}|].",
            "Dispatch [one|two|three] [engines|ambulances] from {from} to {to}, [lights and siren|priority one].",
            "ambulance racing from {from} to {to}, make way <by=public_post>",
            "[Organ transport|Patient transfer] under way from {from}, destination {to}[, {for}|].",
        ),
        "validation": (
            "[Ladder truck|Paramedics] turned out of {from} for {to}[ at {since}|].",
            "Siren on, {from} to {to}, needs free road.",
        ),
        "held_out": (
            "[Tender|Doctor's car] rolling from {from}, target {to}[, been driving {ago}|].",
            "Please clear the way: [crew|patient on board], start {from}, goal {to}[, {for} ride|].",
        ),
    },
    "announcement": {
        "train": (
            "Green corridor requested: ambulance from {from} to {to} at {clock}[, travel time {for}|].",
            "Helicopter lands at {from} in {in}, ambulance then goes to {to}.",
            "[Ambulance|Fire engine|Police escort] will [leave|start from] {from} [at {clock}|in {in}] for "
            "{to}[, trip takes {for}|].",
            "Transfer planned at {clock}: {from} to {to}, blue lights.",
            "In {in} [an ambulance|an engine|a convoy with sirens] departs from {from} towards {to}.",
        ),
        "validation": ("[Rescue unit|Escort] sets out {clock}, {from} to {to}.",),
        "held_out": ("Blue-light trip booked: off {from} in {in}, at {to} {for} after that.",),
    },
}
