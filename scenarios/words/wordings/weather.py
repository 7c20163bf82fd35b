"""Rain, ice, fog, snow and wind."""

WEATHER = {
    "new": {
        "train": (
            "[Rain|Snow|Sleet] has set in {ago} ago[ around {p}|][ and goes on until {until}|, {fades}|].",
            "Gritting lorries out, roads [icy|white] since {since}[, {stays}|].",
            "Storm damage on {s}, branches on the road, wind continues for {for}.",
            "[Heavy rain|Rain|Snow|Hail|Dense fog|Black ice|Strong wind] [in the city|over the area|on "
            "{s}|near {p}][ since {since}|][, [expected to last {for}|until {until}|{fades}|{stays}]|].",
            "[Roads|Streets] are [icy|slippery|flooded|snow-covered] [everywhere|around {p}|on {s}][, "
            "{stays}|, {fades}|, another {more}|].",
            "[Warning|Weather alert]: [storm gusts|freezing rain|sleet|thunderstorm], started {ago} ago[, over "
            "by {until}|].",
            "its pouring down on {s} <by=public_post>",
            "[Visibility below {k} m|Aquaplaning danger] on {s}[ towards {dir}|][, {fades}|].",
        ),
        "validation": (
            "Wet snow on {s}[, {more} more|].",
            "[Downpour|Cloudburst] right now <begin=0>[, ends {until}|, {fades}|].",
        ),
        "held_out": (
            "[Puddles deep as kerbs|Sheets of ice] along {s}[ by {p}|][, {stays}|, for {for}|].",
            "It has been [hailing|snowing hard] {ago}[ and stops around {until}|].",
        ),
    },
    "announcement": {
        "train": (
            "[Temperature drops|Frost sets in] at {clock}: [ice|slippery roads] on {s}[, {stays}|].",
            "A [thunderstorm|hailstorm] is due in {in}, over again after {for}.",
            "Expect [fog|heavy snow|gusts] between {clock} and {until}.",
            "[Heavy rain|Rain|Snow|Fog|Frost|Thunderstorm|Storm] [from {clock}|expected at {clock}|arriving in "
            "{in}][ until {until}| for {for}|, {fades}|, {stays}|].",
            "[Forecast|Weather service]: [rain|snow|ice|gusts] [on {s}|in the city] in {in}[, lasting {for}|].",
            "[A shower|A rain front|A squall] reaches {s} at {clock}[ and passes within {for}|].",
        ),
        "validation": (
            "[Sleet|Drizzle] moves in at {clock}[, gone by {until}|].",
            "Black ice likely in {in}[, {stays}|].",
        ),
        "held_out": (
            "Clouds break over {s} in {in}; [buckets of rain|hailstones] for {for}.",
            "Wipers on from {clock}: [a wet|a snowy] spell[, dry again {until}|].",
        ),
    },
}
