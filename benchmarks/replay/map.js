// Draws one run: streets and queues on one canvas, which changes once a second, and all that moves on another.

// As many standing vehicles colour a lane in each shade.
const SHADES = [1, 4, 8, 14];
const COS = Float32Array.from({ length: 256 }, (_, k) => Math.cos((k * Math.PI) / 128));
const SIN = Float32Array.from({ length: 256 }, (_, k) => Math.sin((k * Math.PI) / 128));
// Below so many pixels a decimetre a stop line is too small to see.
const FAR = 0.14;
const CAR_M = 4.6, CAR_WIDTH_M = 1.9;

// What all panels look at: decimetres of the map at the middle, and pixels a decimetre.
class View {
  constructor(size) {
    this.size = size;
    this.x = size[0] / 2;
    this.y = size[1] / 2;
    this.scale = 0.1;
    this.fitted = true;
  }

  fit(width, height) {
    const margin = 24;
    this.x = this.size[0] / 2;
    this.y = this.size[1] / 2;
    this.smallest = Math.min((width - 2 * margin) / this.size[0], (height - 2 * margin) / this.size[1]);
    this.scale = this.smallest = Math.max(this.smallest, 1e-4);
    this.fitted = true;
  }

  zoom(factor, atX, atY, width, height) {
    const [x, y] = this.toMap(atX, atY, width, height);
    this.scale = Math.min(Math.max(this.scale * factor, (this.smallest || 1e-4) * 0.5), 3);
    this.x = x - (atX - width / 2) / this.scale;
    this.y = y + (atY - height / 2) / this.scale;
    this.fitted = false;
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
    this.fitted = false;
  }

  toMap(px, py, width, height) {
    return [this.x + (px - width / 2) / this.scale, this.y - (py - height / 2) / this.scale];
  }

  toScreen(x, y, width, height) {
    return [width / 2 + (x - this.x) * this.scale, height / 2 - (y - this.y) * this.scale];
  }

  apply(context, ratio, width, height) {
    const k = this.scale * ratio;
    context.setTransform(k, 0, 0, -k, (width / 2) * ratio - this.x * k, (height / 2) * ratio + this.y * k);
  }
}

// The streets as paths in decimetres, made once; stop lines where signals have links.
class Streets {
  constructor(header, arrays) {
    this.header = header;
    this.width = arrays.width;
    this.motor = arrays.motor;
    this.lanes = Streets.paths(arrays, "lane", false);
    this.junctions = new Path2D();
    for (const path of Streets.paths(arrays, "junction", true)) this.junctions.addPath(path);
    this.byWidth = [new Map(), new Map()];
    this.lanes.forEach((path, lane) => {
      const group = this.byWidth[this.motor[lane] ? 1 : 0];
      const joined = group.get(this.width[lane]) || new Path2D();
      joined.addPath(path);
      group.set(this.width[lane], joined);
    });
    this.stops = header.signals.map((signal) => this.stopLines(signal, arrays));
  }

  static paths(arrays, name, closed) {
    const first = arrays[`${name}.first`], x = arrays[`${name}.x`], y = arrays[`${name}.y`];
    return Array.from({ length: first.length - 1 }, (_, line) => {
      const path = new Path2D();
      for (let k = first[line]; k < first[line + 1]; k++) path.lineTo(x[k], y[k]);
      if (closed) path.closePath();
      return path;
    });
  }

  // A bar across the end of each lane, in as many parts as the lane has links, from left to right.
  stopLines(signal, arrays) {
    const first = arrays["lane.first"], x = arrays["lane.x"], y = arrays["lane.y"];
    const lanes = new Map();
    for (const [link, lane, turn] of signal.links) {
      if (lane >= 0) lanes.set(lane, [...(lanes.get(lane) || []), [turn, link]]);
    }
    return [...lanes].flatMap(([lane, links]) => {
      const end = first[lane + 1] - 1;
      let before = end - 1;
      while (before > first[lane] && Math.hypot(x[end] - x[before], y[end] - y[before]) < 5) before--;
      const length = Math.hypot(x[end] - x[before], y[end] - y[before]) || 1;
      const right = [(y[end] - y[before]) / length, -(x[end] - x[before]) / length];
      const seen = [...new Set(links.sort((a, b) => a[0] - b[0]).map((pair) => pair[1]))];
      const half = this.width[lane] * 0.46;
      const point = (share) => {
        const across = half * (2 * share - 1);
        return [x[end] + right[0] * across, y[end] + right[1] * across];
      };
      const [dx, dy] = [x[end] - signal.at[0], y[end] - signal.at[1]];
      const away = Math.hypot(dx, dy) || 1;
      const dot = [dx / away, dy / away];
      return seen.map((link, n) => ({ link, dot, from: point(n / seen.length), to: point((n + 1) / seen.length) }));
    });
  }
}

class MapPanel {
  constructor(run, streets, view, element) {
    Object.assign(this, { run, streets, view, element });
    [this.ground, this.top] = element.querySelectorAll("canvas");
    this.drawnSecond = null;
    this.spent = [];
  }

  resize() {
    const box = this.element.getBoundingClientRect();
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    [this.width, this.height] = [box.width, box.height];
    for (const canvas of [this.ground, this.top]) {
      canvas.width = Math.round(box.width * this.ratio);
      canvas.height = Math.round(box.height * this.ratio);
    }
    this.drawnSecond = null;
  }

  draw(time_s, colours, selected) {
    const begin = performance.now();
    const second = Math.floor(time_s);
    if (this.drawnSecond !== second) {
      this.drawGround(second, colours);
      this.drawnSecond = second;
    }
    const context = this.top.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.width, this.top.height);
    this.view.apply(context, this.ratio, this.width, this.height);
    this.drawVehicles(context, time_s, colours);
    this.drawLights(context, second, colours);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.drawSignals(context, colours, selected);
    this.drawIncidents(context, second, colours);
    this.spent.push(performance.now() - begin);
    if (this.spent.length > 600) this.spent.shift();
  }

  drawGround(second, colours) {
    const context = this.ground.getContext("2d");
    const pixel = 1 / this.view.scale;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = colours.ground;
    context.fillRect(0, 0, this.ground.width, this.ground.height);
    this.view.apply(context, this.ratio, this.width, this.height);
    context.lineCap = "butt";
    context.lineJoin = "round";
    context.fillStyle = colours.junction;
    context.fill(this.streets.junctions);
    this.strokeLanes(context, this.streets.byWidth[0], colours.path, 0.8, pixel);
    this.strokeLanes(context, this.streets.byWidth[1], colours.street, 0.9, 1.4 * pixel);
    this.queues = this.run.queues(second);
    for (const [lane, queue_veh] of [...this.queues.lanes].sort((a, b) => a[1] - b[1])) {
      const shade = SHADES.filter((bound) => queue_veh >= bound).length - 1;
      context.strokeStyle = colours.queues[shade];
      context.lineWidth = Math.max(this.streets.width[lane] * 0.9, (2 + shade) * pixel);
      context.stroke(this.streets.lanes[lane]);
    }
    this.drawBlocked(context, second, colours, pixel);
  }

  strokeLanes(context, group, colour, share, least) {
    context.strokeStyle = colour;
    for (const [width, path] of group) {
      context.lineWidth = Math.max(width * share, least);
      context.stroke(path);
    }
  }

  drawBlocked(context, second, colours, pixel) {
    context.strokeStyle = colours.incident;
    context.lineWidth = Math.max(8, 2 * pixel);
    context.setLineDash([Math.max(20, 5 * pixel), Math.max(20, 5 * pixel)]);
    for (const incident of this.active(second)) {
      for (const lane of incident.blocks ? incident.lanes : []) context.stroke(this.streets.lanes[lane]);
    }
    context.setLineDash([]);
  }

  active(second) {
    return this.run.incidents.filter((incident) => incident.begin_s <= second && second < incident.end_s);
  }

  // Standing, slow and driving vehicles in three paths: three fills draw them all.
  drawVehicles(context, time_s, colours) {
    const { run, view } = this;
    const share = time_s - Math.floor(time_s);
    const long = Math.max(CAR_M * 10, 5 / view.scale), wide = Math.max(CAR_WIDTH_M * 10, 2.6 / view.scale);
    const [left, bottom] = view.toMap(-20, this.height + 20, this.width, this.height);
    const [right, top] = view.toMap(this.width + 20, -20, this.width, this.height);
    const paths = { standing: new Path2D(), slow: new Path2D(), moving: new Path2D() };
    const special = [];
    for (const k of run.at(time_s)) {
      const next = run.hasNext(k) ? k + 1 : k;
      const dx = run.x[next] - run.x[k], dy = run.y[next] - run.y[k];
      const x = run.x[k] + share * dx, y = run.y[k] + share * dy;
      if (x < left || x > right || y < bottom || y > top) continue;
      const step = Math.hypot(dx, dy), kind = run.kind[run.owner[k]];
      const turn = run.heading[k];
      const [ux, uy] = step > 8 ? [dx / step, dy / step] : [COS[turn], SIN[turn]];
      if (kind !== CAR) special.push([x, y, ux, uy, kind]);
      const path = run.stands(k) ? paths.standing : step < 50 ? paths.slow : paths.moving;
      if (kind !== EMERGENCY) box(path, x, y, ux, uy, long, wide);
    }
    for (const [name, path] of Object.entries(paths)) {
      context.fillStyle = colours[name];
      context.fill(path);
    }
    for (const one of special) this.drawSpecial(context, one, long, wide, colours);
  }

  drawSpecial(context, [x, y, ux, uy, kind], long, wide, colours) {
    const path = new Path2D();
    box(path, x, y, ux, uy, long * 1.2, wide * 1.3);
    context.fillStyle = kind === WRECK ? colours.wreck : colours.emergency;
    context.fill(path);
    if (kind !== EMERGENCY) return;
    context.strokeStyle = colours.emergency;
    context.lineWidth = 2 / this.view.scale;
    context.beginPath();
    context.arc(x, y, Math.max(80, 12 / this.view.scale), 0, 2 * Math.PI);
    context.stroke();
  }

  // Bars at the stop lines; from afar, a dot for each approach around the signal.
  drawLights(context, second, colours) {
    const far = this.view.scale < FAR;
    const pixel = (far ? Math.min(Math.max(Math.min(this.width, this.height) / 600, 0.55), 1) : 1) / this.view.scale;
    const paths = { red: new Path2D(), yellow: new Path2D(), green: new Path2D(), off: new Path2D() };
    this.streets.stops.forEach((bars, signal) => {
      const { state } = this.run.light(signal, second);
      for (const { link, from, to, dot } of bars) {
        const path = paths[lamp(state[link])];
        if (far) {
          const [x, y] = this.streets.header.signals[signal].at;
          path.moveTo(x + dot[0] * 11 * pixel, y + dot[1] * 11 * pixel);
          path.lineTo(x + dot[0] * 7 * pixel, y + dot[1] * 7 * pixel);
          continue;
        }
        path.moveTo(from[0], from[1]);
        path.lineTo(to[0], to[1]);
      }
    });
    context.lineCap = far ? "round" : "butt";
    for (const [thick, name] of [[3.4, "edge"], [2.2, null]]) {
      context.lineWidth = far ? thick * 2 * pixel : Math.max(thick * 6, thick * 1.8 * pixel);
      for (const [lit, path] of Object.entries(paths)) {
        context.strokeStyle = name ? colours.ground : colours[lit];
        context.stroke(path);
      }
    }
  }

  // A ring around the chosen signal, wide enough for its stop lines.
  drawSignals(context, colours, selected) {
    if (selected < 0) return;
    const { at } = this.streets.header.signals[selected];
    const [x, y] = this.view.toScreen(at[0], at[1], this.width, this.height);
    const reach = Math.max(...this.streets.stops[selected].map(({ from }) => Math.hypot(from[0] - at[0], from[1] - at[1])), 0);
    context.beginPath();
    context.arc(x, y, Math.max(17, (reach + 40) * this.view.scale), 0, 2 * Math.PI);
    context.strokeStyle = colours.accent;
    context.lineWidth = 2.5;
    context.stroke();
  }

  drawIncidents(context, second, colours) {
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const incident of this.active(second)) {
      if (!incident.at) continue;
      const [x, y] = this.view.toScreen(incident.at[0], incident.at[1], this.width, this.height);
      context.beginPath();
      context.moveTo(x, y - 11);
      context.lineTo(x + 11, y + 8);
      context.lineTo(x - 11, y + 8);
      context.closePath();
      context.fillStyle = colours.incident;
      context.strokeStyle = colours.ground;
      context.lineWidth = 2;
      context.stroke();
      context.fill();
      context.fillStyle = colours.ground;
      context.textAlign = "center";
      context.fillText("!", x, y + 2);
      const toLeft = x > this.width * 0.6;
      context.textAlign = toLeft ? "right" : "left";
      context.lineWidth = 4;
      context.strokeText(incident.what, x + (toLeft ? -15 : 15), y);
      context.fillStyle = colours.ink;
      context.fillText(incident.what, x + (toLeft ? -15 : 15), y);
    }
  }

  // The signal near a place on the screen; -1 where there is none.
  signalAt(px, py) {
    let best = -1, near = 22;
    this.streets.header.signals.forEach((signal, number) => {
      const [x, y] = this.view.toScreen(signal.at[0], signal.at[1], this.width, this.height);
      const reach = Math.max(near, 120 * this.view.scale);
      const away = Math.hypot(x - px, y - py);
      if (away < Math.min(reach, best < 0 ? reach : near)) [best, near] = [number, away];
    });
    return best;
  }
}

// A vehicle's outline; its place is that of the front bumper.
function box(path, x, y, ux, uy, long, wide) {
  const wx = (-uy * wide) / 2, wy = (ux * wide) / 2;
  path.moveTo(x + wx, y + wy);
  path.lineTo(x - wx, y - wy);
  path.lineTo(x - ux * long - wx, y - uy * long - wy);
  path.lineTo(x - ux * long + wx, y - uy * long + wy);
  path.closePath();
}

function lamp(letter) {
  if (letter === "G" || letter === "g") return "green";
  if (letter === "y" || letter === "Y" || letter === "u") return "yellow";
  return letter === "r" || letter === "s" ? "red" : "off";
}
