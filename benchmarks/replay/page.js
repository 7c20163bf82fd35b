// The clock, the controls and what the page says; all panels show one time and one part of the map.

const byId = (id) => document.getElementById(id);
const COLOURS = ["ground", "street", "junction", "path", "moving", "slow", "standing", "emergency", "wreck", "incident",
  "red", "yellow", "green", "off", "quiet", "accent", "ink"];

class Replay {
  constructor(header, arrays) {
    Object.assign(this, { header, time_s: header.begin_s, playing: false, speed: 10, selected: -1 });
    this.runs = header.runs.map((_, number) => new Run(header, arrays, number));
    this.view = new View(header.size_dm);
    const streets = new Streets(header, arrays);
    this.maps = [...document.querySelectorAll(".map")].map((map, n) => new MapPanel(this.runs[n], streets, this.view, map));
    this.frames = [];
    this.readColours();
    this.drawCourse();
    this.listen();
    this.maps.forEach((map) => listenToMap(this, map));
    this.resize();
    this.readAddress();
    requestAnimationFrame((now) => this.frame(now));
  }

  // --- time

  frame(now) {
    const passed_s = Math.min((now - (this.before || now)) / 1000, 0.25);
    this.before = now;
    if (this.playing) {
      this.frames.push(now);
      if (this.frames.length > 600) this.frames.shift();
      this.time_s = Math.min(this.time_s + passed_s * this.speed, this.header.end_s);
      this.dirty = true;
      if (this.time_s >= this.header.end_s) this.play(false);
    }
    if (this.dirty) this.draw();
    requestAnimationFrame((later) => this.frame(later));
  }

  play(on) {
    if (on && this.time_s >= this.header.end_s) this.time_s = this.header.begin_s;
    this.playing = on;
    this.frames = [];
    byId("play").classList.toggle("on", on);
    byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
    this.dirty = true;
  }

  seek(time_s) {
    this.time_s = Math.min(Math.max(time_s, this.header.begin_s), this.header.end_s);
    this.dirty = true;
  }

  faster(steps) {
    const speeds = byId("speed");
    speeds.selectedIndex = Math.min(Math.max(speeds.selectedIndex + steps, 0), speeds.options.length - 1);
    this.speed = Number(speeds.value);
  }

  // --- drawing

  draw() {
    this.dirty = false;
    if (this.moved) for (const map of this.maps) map.drawnSecond = null;
    this.moved = false;
    for (const map of this.maps) map.draw(this.time_s, this.colours, this.selected);
    const second = Math.floor(this.time_s);
    byId("scrub").value = second;
    byId("clock").textContent = clock(second);
    this.cursor.setAttribute("x1", second);
    this.cursor.setAttribute("x2", second);
    if (second === this.toldSecond) return;
    this.toldSecond = second;
    this.tellFigures(second);
    this.tellSignal();
  }

  tellFigures(second) {
    const found = this.runs.map((run) => run.figures(this.time_s));
    document.querySelectorAll(".figures").forEach((line, n) => {
      const set = (name, value) => (line.querySelector(`.${name} b`).textContent = value);
      const { driving, standing } = this.maps[n].queues;
      set("delay", found[n] ? found[n].delay_s.toFixed(1) : "–");
      set("driving", driving);
      set("standing", standing);
      set("outside", found[n] ? found[n].outside : "–");
      set("arrived", found[n] ? found[n].arrived : "–");
    });
    if (found.length < 2 || !found[0] || second <= this.header.measured_s) return (byId("difference").textContent = "");
    const less = found[1].delay_s - found[0].delay_s;
    const names = this.header.names;
    return (byId("difference").textContent =
      `${names[0]}: ${Math.abs(less).toFixed(1)} s/veh ${less >= 0 ? "less" : "more"} delay than ${names[1]}`);
  }

  tellSignal() {
    if (this.selected >= 0) fillSide(this, byId("side-body"));
  }

  select(number) {
    this.selected = number;
    byId("signal").value = String(number);
    byId("side").hidden = number < 0;
    byId("stage").classList.toggle("open", number >= 0);
    byId("side-title").textContent = number < 0 ? "" : `Signal ${this.header.signals[number].id}`;
    this.resize();
    this.tellSignal();
  }

  // Wide maps go below each other, others side by side: whichever shows them larger.
  resize() {
    const stage = byId("stage"), [width, height] = this.header.size_dm;
    const across = stage.clientWidth - (this.selected < 0 ? 0 : 380), down = stage.clientHeight;
    const scale = (columns, rows) => Math.min(across / columns / width, (down / rows - 60) / height);
    stage.classList.toggle("wide", this.runs.length === 2 && scale(1, 2) > 1.15 * scale(2, 1));
    for (const map of this.maps) map.resize();
    if (this.view.fitted) this.view.fit(this.maps[0].width, this.maps[0].height);
    this.change();
  }

  change() {
    this.moved = this.dirty = true;
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = Object.fromEntries(COLOURS.map((name) => [name, value(name)]));
    this.colours.queues = [0, 1, 2, 3].map((shade) => value(`queue-${shade}`));
    this.change();
  }

  // The delay of each run over time, above the slider.
  drawCourse() {
    const { begin_s, end_s } = this.header;
    const svg = document.querySelector("#course svg");
    const top = Math.max(...this.runs.flatMap((run) => [...run.delay.slice(12)]), 1);
    svg.setAttribute("viewBox", `${begin_s} 0 ${end_s - begin_s} 100`);
    const add = (name, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      made.setAttribute("vector-effect", "non-scaling-stroke");
      return svg.appendChild(made);
    };
    for (const { begin_s: from, end_s: to } of this.runs[0].incidents) {
      add("rect", { x: from, y: 0, width: Math.max(to - from, 1), height: 100, fill: "var(--incident)", opacity: 0.16 });
    }
    this.runs.forEach((run, n) => {
      const points = Array.from(run.delay, (tenths, k) =>
        `${run.measured_s + k * run.delayStep_s},${100 - 96 * Math.min(Math.max(tenths / top, 0), 1)}`);
      add("polyline", { points: points.join(" "), fill: "none", stroke: `var(--run-${n})`, "stroke-width": 2 });
    });
    this.cursor = add("line", { y1: 0, y2: 100, stroke: "var(--ink)", "stroke-width": 1 });
    document.querySelector("#course .top").textContent = `delay so far, up to ${(top / 10).toFixed(0)} s/veh`;
  }

  // --- what the reader does

  listen() {
    const scrub = byId("scrub");
    [scrub.min, scrub.max] = [this.header.begin_s, this.header.end_s];
    scrub.addEventListener("input", () => this.seek(Number(scrub.value)));
    byId("play").addEventListener("click", () => this.play(!this.playing));
    byId("back").addEventListener("click", () => this.seek(this.time_s - 10));
    byId("on").addEventListener("click", () => this.seek(this.time_s + 10));
    byId("speed").addEventListener("change", () => this.faster(0));
    byId("zoom-in").addEventListener("click", () => this.zoom(1.5));
    byId("zoom-out").addEventListener("click", () => this.zoom(1 / 1.5));
    byId("fit").addEventListener("click", () => this.fit());
    byId("side-close").addEventListener("click", () => this.select(-1));
    byId("help-open").addEventListener("click", () => byId("help").showModal());
    const list = byId("signal");
    this.header.signals.forEach((signal, number) => list.add(new Option(signal.id, String(number))));
    list.addEventListener("change", () => {
      this.select(Number(list.value));
      this.centre();
    });
    new ResizeObserver(() => this.resize()).observe(byId("stage"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.readColours());
    document.addEventListener("keydown", (event) => this.key(event));
    addEventListener("hashchange", () => this.readAddress());
  }

  key(event) {
    const field = event.target.closest("select, input, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey || (field && event.key !== " ") || field?.tagName === "DIALOG") return;
    if (event.key === " " && event.target.closest("button, select, summary, a")) return;
    const onMap = event.target.closest(".map");
    const step = event.shiftKey ? 60 : 10;
    const pans = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const keys = {
      " ": () => this.play(!this.playing),
      ArrowLeft: () => this.seek(this.time_s - step),
      ArrowRight: () => this.seek(this.time_s + step),
      ",": () => this.faster(-1),
      ".": () => this.faster(1),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.fit(),
      n: () => this.nextSignal(1),
      p: () => this.nextSignal(-1),
      Escape: () => this.select(-1),
      "?": () => byId("help").showModal(),
    };
    const act = onMap && pans[event.key] ? () => (this.view.pan(...pans[event.key]), this.change()) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  nextSignal(step) {
    const count = this.header.signals.length;
    this.select(this.selected < 0 ? (step > 0 ? 0 : count - 1) : (this.selected + step + count) % count);
    this.centre();
  }

  centre() {
    if (this.selected < 0) return;
    [this.view.x, this.view.y] = this.header.signals[this.selected].at;
    this.view.scale = Math.max(this.view.scale, 0.3);
    this.view.fitted = false;
    this.change();
  }

  zoom(factor, atX, atY) {
    const { width, height } = this.maps[0];
    this.view.zoom(factor, atX ?? width / 2, atY ?? height / 2, width, height);
    this.change();
  }

  fit() {
    this.view.fit(this.maps[0].width, this.maps[0].height);
    this.change();
  }

  // page.html#t=07:15:30&signal=360082&play
  readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const time = /^(\d+):(\d\d)(?::(\d\d))?$/.exec(wanted.get("t") || "");
    if (time) this.seek(3600 * time[1] + 60 * time[2] + Number(time[3] || 0));
    const signal = this.header.signals.findIndex((one) => one.id === wanted.get("signal"));
    if (signal >= 0) {
      this.select(signal);
      this.centre();
    }
    if (wanted.has("play")) this.play(true);
  }
}

// Drag, wheel, pinch and click on one map.
function listenToMap(replay, map) {
  const { element } = map;
  const fingers = new Map();
  let far = 0, travelled = 0;
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.target.closest("a")) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) travelled = 0;
    if (fingers.size === 2) [far] = spread();
  });
  element.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) return void element.classList.toggle("near", map.signalAt(x, y) >= 0);
    fingers.set(event.pointerId, [x, y]);
    travelled += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    if (travelled < 5) return;
    element.classList.add("moving");
    if (fingers.size === 1) replay.view.pan(x - before[0], y - before[1]);
    if (fingers.size === 2) {
      const [now, atX, atY] = spread();
      replay.view.zoom(now / (far || now), atX, atY, map.width, map.height);
      far = now;
    }
    replay.change();
  });
  const lift = (event) => {
    const held = fingers.delete(event.pointerId);
    element.classList.remove("moving");
    if (!held || event.type === "pointercancel" || travelled >= 5 || fingers.size) return;
    const found = map.signalAt(...place(event));
    if (found >= 0) replay.select(found);
  };
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    replay.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
  }, { passive: false });
  element.addEventListener("dblclick", (event) => replay.zoom(2, ...place(event)));
}

function clock(second) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  return `${two((second / 3600) % 24)}:${two((second / 60) % 60)}:${two(second % 60)}`;
}

function fail(sentence) {
  byId("failed").textContent = sentence;
  byId("failed").hidden = false;
}

if (typeof DecompressionStream === "undefined") {
  fail("This browser is too old for this page; it needs DecompressionStream (Chrome 80, Firefox 113, Safari 16.4).");
} else {
  unpack(byId("data").textContent.trim())
    .then(({ header, arrays }) => {
      byId("data").remove();
      window.replay = new Replay(header, arrays);
    })
    .catch((error) => {
      fail(`The data of this page cannot be read (${error.message}); write it again with 'greenloop replay'.`);
    });
}
