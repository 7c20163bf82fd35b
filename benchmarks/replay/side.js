// What a chosen signal does and why, for each run at the moment shown.

function fillSide(replay, body) {
  const signal = replay.header.signals[replay.selected];
  const open = new Set([...body.querySelectorAll("details[open]")].map((one) => one.dataset.of));
  const made = document.createDocumentFragment();
  replay.runs.forEach((run, number) => {
    const head = make("h3", "");
    head.append(make("span", "", `swatch swatch-${number}`), replay.header.names[number]);
    head.firstChild.style.background = `var(--run-${number})`;
    made.append(head, ...aboutSignal(run, signal, replay.selected, replay.time_s));
  });
  body.replaceChildren(made);
  for (const one of body.querySelectorAll("details")) one.open = open.has(one.dataset.of);
}

function make(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function aboutSignal(run, signal, number, time_s) {
  const light = run.light(number, time_s);
  const decision = run.decision(number, time_s);
  const shown = signal.phases.findIndex((phase) => phase.state === light.state);
  const seconds = Math.max(Math.floor(time_s) - light.since_s, 0);
  const state = shown >= 0 ? `Phase ${letter(shown)} since ${seconds} s`
    : /[yYu]/.test(light.state) ? `Yellow since ${seconds} s` : `Change or own program since ${seconds} s`;
  return [make("p", state, "now"), decided(decision, signal), ...reasons(decision, time_s), phases(signal, shown, decision),
    approaches(run, signal, time_s), ...prompt(decision, run.controller)];
}

function decided(decision, signal) {
  if (!decision) return make("p", "No decision yet.", "decision");
  const hold = decision.hold_s >= 0 ? `, for ${decision.hold_s} s` : "";
  const what = decision.phase < 0 ? "a whole program" : `phase ${letter(decision.phase)}${hold}`;
  const known = decision.phase < signal.phases.length ? "" : " (which it does not have)";
  return make("p", `Decision of ${clock(decision.time_s)}: ${what}${known}`, "decision");
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

function phases(signal, shown, decision) {
  const list = make("ol", "");
  const shares = likelihoods(decision);
  const next = forecasts(decision);
  signal.phases.forEach((phase, number) => {
    const asked = decision && decision.phase === number;
    const item = make("li", "", `phase${number === shown ? " shown" : ""}${asked ? " asked" : ""}`);
    item.append(make("b", `Phase ${letter(number)}`));
    const tags = [number === shown ? "green now" : "", asked ? "asked for" : ""].filter(Boolean).join(", ");
    if (tags) item.append(` ${tags}`);
    if (shares && shares[number] !== undefined) {
      const bar = make("meter", "");
      bar.value = shares[number];
      item.append(" ", bar, ` ${(100 * shares[number]).toFixed(0)} %`);
    }
    if (next[number] !== undefined) item.append(make("div", `forecast: ${next[number]} vehicles within a minute`, "forecast"));
    for (const line of phase.serves) item.append(make("div", line, "state"));
    list.append(item);
  });
  return list;
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
  const lines = String(decision?.note.prompt || "").split("\n").filter((line) => / [A-Z]$/.test(line));
  return lines.map((line) => (/\bnext(\d+\??)/.exec(line) || [])[1]);
}

function approaches(run, signal, time_s) {
  const table = make("table", "");
  const head = table.createTHead().insertRow();
  for (const title of ["Approach", "on lane", "standing", "longest wait"]) head.append(make("th", title));
  const body = table.createTBody();
  for (const approach of signal.approaches) {
    const { there, standing, longest_s } = run.waits(approach.lanes, time_s);
    const row = body.insertRow();
    row.append(make("th", approach.name), make("td", there), make("td", standing), make("td", `${longest_s} s`));
  }
  return table;
}

function prompt(decision, of) {
  if (!decision?.note.prompt) return [];
  const details = make("details", "");
  details.dataset.of = of;
  details.append(make("summary", "What the model read"), make("pre", decision.note.prompt));
  return [details];
}

function letter(phase) {
  return phase < 26 ? String.fromCharCode(65 + phase) : String(phase + 1);
}
