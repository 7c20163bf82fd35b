// What a chosen signal does and why, for each run at the moment shown.

function fillSide(replay, body) {
  const signal = replay.header.signals[replay.selected];
  const open = new Set([...body.querySelectorAll("details[open]")].map((one) => one.dataset.of));
  const shown = replay.runs.map((run, number) => {
    const light = run.light(replay.selected, replay.time_s);
    const decision = run.decision(replay.selected, replay.time_s);
    const phase = signal.phases.findIndex((one) => one.state === light.state);
    return { run, light, decision, phase, name: replay.header.names[number], colour: `var(--run-${number})` };
  });
  body.replaceChildren(
    ...shown.map((one) => now(one, signal, replay.time_s)),
    make("h3", "Phases"), phases(signal, shown),
    make("h3", "On the lanes to the signal"), approaches(signal, shown, replay.time_s),
    ...shown.flatMap(prompt),
  );
  for (const one of body.querySelectorAll("details")) one.open = open.has(one.dataset.of);
}

function make(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function swatch(colour) {
  const made = make("span", "", "swatch");
  made.style.background = colour;
  return made;
}

// What one controller shows and has last decided.
function now({ light, decision, phase, name, colour }, signal, time_s) {
  const made = make("section", "", "now");
  const head = make("h4", "");
  head.append(swatch(colour), name);
  const seconds = Math.max(Math.floor(time_s) - light.since_s, 0);
  const what = phase >= 0 ? `Phase ${letter(phase)}` : /[yYu]/.test(light.state) ? "Yellow" : "Its own program";
  made.append(head, make("p", `${what}, for ${seconds} s now`), decided(decision, signal), ...reasons(decision));
  return made;
}

function decided(decision, signal) {
  if (!decision) return make("p", "No decision so far: the signal's own program runs.", "decision");
  const hold = decision.hold_s >= 0 ? `, for ${decision.hold_s} s` : "";
  const what = decision.phase < 0 ? "a whole program" : `phase ${letter(decision.phase)}${hold}`;
  const known = decision.phase < signal.phases.length ? "" : " (which it does not have)";
  return make("p", `Decision at ${clock(decision.time_s)}: ${what}${known}`, "decision");
}

// Why, as far as the controller tells.
function reasons(decision) {
  if (!decision) return [];
  const { why, fallback, scores, prompt: read, forecast, ...others } = decision.note;
  const said = [];
  if (why) said.push(make("p", why, "reason"));
  if (fallback) said.push(make("p", `The fallback decided in the model's place (${fallback}).`, "reason"));
  if (forecast !== undefined) said.push(make("p", `Forecast: ${plain(forecast)}`, "forecast"));
  for (const [key, value] of Object.entries(others)) said.push(make("p", `${key.replaceAll("_", " ")}: ${plain(value)}`));
  if (!said.length && !scores && !read) said.push(make("p", "This controller does not tell its reasons.", "state"));
  return said;
}

function plain(value) {
  if (value === null) return "unknown";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${key} ${plain(one)}`).join("; ");
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(2) : String(value);
}

function phases(signal, shown) {
  const list = make("ol", "");
  const known = shown.map((one) => ({ ...one, shares: likelihoods(one.decision), next: forecasts(one.decision) }));
  signal.phases.forEach((phase, number) => {
    const item = make("li", "", `phase${known.some((one) => one.phase === number) ? " shown" : ""}`);
    item.append(make("b", letter(number), "letter"));
    for (const line of phase.serves) item.append(make("div", line, "state"));
    for (const one of known) item.append(...ofPhase(one, number));
    list.append(item);
  });
  return list;
}

// What a run says of a phase: green now, asked for, how likely the model found it, what it forecasts.
function ofPhase({ phase, decision, shares, next, colour }, number) {
  const said = [];
  if (phase === number) said.push("green now");
  if (decision?.phase === number) said.push("decided");
  if (next[number] !== undefined) said.push(`forecast: ${next[number]} vehicles within a minute`);
  const share = shares?.[number];
  if (!said.length && share === undefined) return [];
  const line = make("div", "", "said");
  line.append(swatch(colour), said.join(", "));
  if (share !== undefined) {
    const bar = make("meter", "");
    bar.value = share;
    bar.title = "how likely the model found this phase";
    line.append(" ", bar, ` ${(100 * share).toFixed(0)} %`);
  }
  return [line];
}

// The model's scores are logits: as shares of one.
function likelihoods(decision) {
  const scores = decision?.note.scores;
  if (!Array.isArray(scores) || scores.some((score) => typeof score !== "number")) return null;
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

// What the prompt says will come to each phase ("next7").
function forecasts(decision) {
  const lines = String(decision?.note.prompt || "").split("\n").filter((line) => /^(red|green).* [A-Z]$/.test(line));
  return lines.map((line) => (/\bnext(\d+\??)/.exec(line) || [])[1]);
}

function approaches(signal, shown, time_s) {
  const table = make("table", "");
  const heads = table.createTHead();
  const top = heads.insertRow(), head = heads.insertRow();
  top.append(make("th", ""));
  head.append(make("th", "Approach"));
  for (const { name, colour } of shown) {
    const title = make("th", "");
    title.colSpan = 2;
    title.append(swatch(colour), name);
    top.append(title);
    head.append(make("th", "standing"), make("th", "waits"));
  }
  const body = table.createTBody();
  for (const approach of signal.approaches) {
    const row = body.insertRow();
    row.append(make("th", approach.name));
    for (const { run } of shown) {
      const { standing, longest_s } = run.waits(approach.lanes, time_s);
      row.append(make("td", standing), make("td", `${longest_s} s`));
    }
  }
  return table;
}

function prompt({ decision, name }) {
  if (!decision?.note.prompt) return [];
  const details = make("details", "");
  details.dataset.of = name;
  details.append(make("summary", `What ${name} read`), make("pre", decision.note.prompt));
  return [details];
}

function letter(phase) {
  return phase < 26 ? String.fromCharCode(65 + phase) : String(phase + 1);
}
