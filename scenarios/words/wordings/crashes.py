"""Crashes and breakdowns."""

CRASH = {
    "new": {
        "train": (
            "There has been [an accident|a collision|a crash] involving [a cyclist|a tram|a motorbike|a school "
            "bus] on {s}[ in front of {p}|]; please expect {lanes} to stay closed[ for {for}|].",
            "RTA {s} j/w {s2}, {k} casualties, {lanes} blocked, {implied}. <by=police,fire_dispatch>",
            "[Oil|Diesel|Broken glass|Gravel] on the road after a crash on {s}[ towards {dir}|], {lanes} "
            "unusable, sweeping takes {for}.",
            "Listener reports: [two vans|three cars] crashed on {s}[ by {s2}|] about {ago} ago, {lanes} "
            "blocked. <by=radio>",
            "crash {s} {s2} {lanes} blocked <by=public_post,police>",
            "Fire crew cutting a driver free on {s}[ near {p}|]. {Lanes} closed for at least {for}. <by=fire_dispatch>",
            "[Crash|Accident|Collision|RTC|Rear-end collision] [on|in] {s}[ at {s2}| near {s2}| close to "
            "{p}|][, {lanes} [blocked|closed|obstructed]|].",
            "{s}[, {dir} bound|]: [two|three|several] [cars|vehicles] have [collided|crashed|hit each other], "
            "{lanes} [blocked|shut].[ We expect to clear within {for}.| Tow truck is {soon}.|]",
            "[Officers|Units|Patrol] on scene of [an accident|a crash] on {s}[ towards {dir}|][ since "
            "{since}|]; {lanes} [out of use|not passable][, clearance takes {for}|, reopening around {until}|, "
            "{implied}|].",
            "[Motorcyclist|Cyclist|Pedestrian|Van driver] [hurt|struck|injured] on {s} [near|by|before] {s2}. "
            "{Lanes} [closed|coned off] [for {for}|until {until}|while the scene is measured <length=long>].",
            "We have a [smash|pile-up|shunt] on {s}[ just past {s2}| outside {p}|] {ago} ago[, {lanes} gone|].",
            "[A lorry|A truck|A bus|A taxi] ran into [a car|a wall|a traffic island|the guard rail] on {s}. "
            "{Lanes} [blocked|impassable][; {implied}|; expect {for}|].",
            "{s} heading for {dir}: [accident|crash] with [injured people|spilled fuel|a trapped driver], {implied}.",
            "just saw a [crash|bad accident|car flipped over] on {s}[ near {p}|][ {lanes} blocked|] <by=public_post>",
            "[Fender bender|Minor bump|Small collision] on {s}, [drivers are swapping details|cars are moving "
            "to the side], {brief}.",
            "Traffic [alert|news]: [crash|accident] between {s2} and {s3} on {s}, {lanes} [closed|lost]. "
            "<by=radio,road_authority,transit>",
            "Time of report {since}: [vehicle on its roof|head-on collision|car against tree] {s} "
            "[c/o|jct|corner] {s2}. <by=police,fire_dispatch>",
            "Our bus was hit by a [car|van] on {s}, [nobody is hurt|one person is hurt]. {Lanes} blocked, "
            "{for} until we move. <by=transit>",
        ),
        "validation": (
            "[Wrecked car|Two damaged vehicles] [standing|sitting] on {s}[ by {s2}|], {lanes} "
            "[unusable|taken].[ Recovery in {for}.|]",
            "Please note a traffic accident, {s}[, direction {dir}|]. {Lanes} closed off[, about {for}|, {implied}|].",
            "omg someone got rear ended on {s} [next to {p}|], {lanes} stuck <by=public_post>",
            "Incident log {since}: vehicles collided, {s} / {s2}. {Lanes} affected.",
        ),
        "held_out": (
            "[Cars tangled up|Bumpers locked together] on {s}[ where it meets {s2}|]; {lanes} lost.",
            "After a [knock|prang|bang] at {since} there is [broken glass|debris] all over {s}[ alongside "
            "{p}|], and {lanes} had to be sealed[ for {for}|].",
            "Attending injury collision, {s}, carriageway to {dir}. {Lanes} held by our vehicles, {implied}.",
            "Somebody drove [straight into the central reserve|into a parked van] on {s}; {lanes} will be "
            "missing for {for}.",
            "ugh, crunch on {s} again [opposite {p}|], saw two airbags out, {lanes} jammed <by=public_post>",
        ),
    }
}

BREAKDOWN = {
    "new": {
        "train": (
            "[Caravan|Tanker|Camper van] with a [snapped axle|lost wheel|seized engine] on {s}[ before {s2}|], "
            "{lanes} blocked, {implied}.",
            "[Tram|Bus] out of service on {s}[ at {p}|], {lanes} blocked[, technicians need {for}|]. <by=transit>",
            "Report of an unlit stationary [car|trailer] on {s}[ towards {dir}|], {lanes} obstructed. "
            "<by=police,radio>",
            "our truck died on {s}, sorry everyone, {lanes} blocked for {for} <by=contractor,public_post>",
            "[Broken-down|Stalled|Disabled] [lorry|car|bus|van|truck] on {s}[ at {s2}| near {p}|], {lanes} "
            "[blocked|obstructed][, {implied}|, about {for}|].",
            "[A van|A bus|A truck|A tractor] [has broken down|has a flat tyre|lost its engine|is out of fuel] "
            "[on|in] {s}[ towards {dir}|]; {lanes} [blocked|lost].",
            "{s}: vehicle [with engine trouble|with a burst tyre|that will not start] blocking {lanes}[; "
            "{brief}|; mechanic {soon}|].",
            "Our [line {k}|articulated] bus [has failed|is stuck with a door fault|lost air pressure] on {s}[ "
            "near {s2}|]. [Replacement|Recovery] in {for}. {Lanes} blocked. <by=transit>",
            "car dead on {s}[ right at {s2}|], hazards on, {lanes} blocked <by=public_post>",
            "[Recovery|Tow truck] [called|requested] for a [stranded|dead] [truck|coach|car] on {s}, {lanes} "
            "[taken|not usable], [done by {until}|expect {for}].",
            "[Truck|Lorry] lost [its load|pallets|a wheel] on {s}[ between {s2} and {s3}|]; {implied}.",
            "Since {since} a [delivery van|coach] [stands|is standing] still on {s}, {lanes} blocked.",
        ),
        "validation": (
            "Hazard: [immobile|abandoned] [van|car] in {lanes} of {s}[ by {p}|]. [Gone in {for}.|]",
            "[Gearbox|Clutch] failure, one of our [coaches|lorries], {s}[ heading to {dir}|], {lanes} shut[, "
            "{implied}|].",
            "some guy ran out of petrol on {s} lol {lanes} blocked <by=public_post>",
        ),
        "held_out": (
            "[Smoke from the bonnet|Steam everywhere]: a [minibus|pickup] gave up on {s}[ facing {dir}|] and "
            "fills {lanes}[; back to normal in {for}|].",
            "A [refuse truck|horse box] sits motionless on {s}[ by the {s2} turning|] {ago} now, hazards "
            "flashing, {lanes} swallowed up.",
            "Vehicle defect on {s}, {lanes} unavailable, {implied}.",
            "Our driver reports [an axle gone|brakes locked solid] at {s}; {lanes} not free before {until}. "
            "<by=transit,contractor>",
        ),
    }
}
