// Reads what the page carries (see benchmarks/replay/data.py) and answers what was where at a second of a run.

const CAR = 0, WRECK = 1, EMERGENCY = 2;

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const kinds = { i1: Int8Array, i2: Int16Array, i4: Int32Array };
  const arrays = {};
  let at = 4 + length;
  for (const [name, type, count] of header.arrays) {
    const kind = kinds[type.slice(0, 2)];
    const size = count * kind.BYTES_PER_ELEMENT;
    const kept = new kind(buffer.slice(at, at + size));
    arrays[name] = type.endsWith("+") ? summed(kept) : Int32Array.from(kept);
    at += size;
  }
  return { header, arrays };
}

function summed(differences) {
  const values = new Int32Array(differences.length);
  let sum = 0;
  for (let k = 0; k < values.length; k++) values[k] = sum += differences[k];
  return values;
}

// Coordinates from the changes of their changes, vehicle by vehicle.
function driven(start, changes, first) {
  const values = new Int32Array(changes.length);
  for (let v = 0; v < start.length; v++) {
    let place = start[v], step = 0;
    for (let k = first[v]; k < first[v + 1]; k++) values[k] = place += step += changes[k];
  }
  return values;
}

// Where each vehicle points, in 256 steps of a turn: as it last came along when it stands, as it will leave at first.
function headings(x, y, first) {
  const found = new Uint8Array(x.length);
  for (let v = 0; v + 1 < first.length; v++) {
    let anchor = first[v], known = -1;
    for (let k = first[v]; k < first[v + 1]; k++) {
      const dx = x[k] - x[anchor], dy = y[k] - y[anchor];
      if (dx * dx + dy * dy > 64) {
        const turn = Math.round((Math.atan2(dy, dx) / (2 * Math.PI)) * 256) & 255;
        if (known < 0) found.fill(turn, first[v], k);
        [known, anchor] = [turn, k];
      }
      found[k] = Math.max(known, 0);
    }
  }
  return found;
}

// The place of the last entry that is at most `wanted` in a sorted array; -1 before the first.
function last(sorted, wanted, from = 0, to = sorted.length) {
  let low = from, high = to;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// One run. A sample k of vehicle v is its state at second begin[v] + k - first[v].
class Run {
  constructor(header, arrays, number) {
    const own = (name) => arrays[`${number}.${name}`];
    Object.assign(this, header.runs[number]);
    this.incidents = header.incidents[number];
    this.begin_s = header.begin_s;
    this.seconds = header.end_s - header.begin_s;
    this.measured_s = header.measured_s;
    this.delayStep_s = header.delay_step_s;
    this.first = own("first");
    this.begin = own("begin");
    this.kind = own("kind");
    this.x = driven(own("x.start"), own("x"), this.first);
    this.y = driven(own("y.start"), own("y"), this.first);
    this.place = own("place");
    this.heading = headings(this.x, this.y, this.first);
    this.delay = own("delay");
    this.outside = own("outside");
    this.arrived = own("arrived");
    this.lights = this.readLights(own("changes"), own("change_s"), own("change_state"));
    this.decisions = this.readDecisions(header.signals.length, own);
    this.indexSeconds();
  }

  readLights(counts, times, codes) {
    let at = 0;
    return Array.from(counts, (count) => {
      const from = at;
      at += count;
      return { times: times.subarray(from, at), codes: codes.subarray(from, at) };
    });
  }

  readDecisions(signals, own) {
    const found = Array.from({ length: signals }, () => ({ times: [], rows: [] }));
    const [times, signal, phase, hold] = ["decision_s", "decision_signal", "decision_phase", "decision_hold_s"].map(own);
    for (let row = 0; row < times.length; row++) {
      const known = found[signal[row]];
      known.times.push(times[row]);
      known.rows.push({ time_s: times[row], phase: phase[row], hold_s: hold[row], note: this.notes[row] || {} });
    }
    return found;
  }

  // Which samples belong to each second: a sort by counting, so that a frame looks at present vehicles only.
  indexSeconds() {
    const { first, begin, begin_s, seconds } = this;
    const count = new Int32Array(seconds + 2);
    this.owner = new Int32Array(this.x.length);
    for (let v = 0; v < begin.length; v++) {
      for (let k = first[v]; k < first[v + 1]; k++) {
        this.owner[k] = v;
        count[this.second(begin[v] + k - first[v]) + 1]++;
      }
    }
    for (let s = 0; s <= seconds; s++) count[s + 1] += count[s];
    this.secondFirst = count.slice();
    this.samples = new Int32Array(this.x.length);
    for (let k = 0; k < this.x.length; k++) {
      const v = this.owner[k];
      this.samples[count[this.second(begin[v] + k - first[v])]++] = k;
    }
  }

  second(time_s) {
    return Math.min(Math.max(Math.floor(time_s) - this.begin_s, 0), this.seconds);
  }

  // The samples of all vehicles that are there in a second.
  at(time_s) {
    const s = this.second(time_s);
    return this.samples.subarray(this.secondFirst[s], this.secondFirst[s + 1]);
  }

  lane(k) {
    return (this.place[k] >> 1) - 1;
  }

  stands(k) {
    return this.place[k] & 1;
  }

  hasNext(k) {
    return k + 1 < this.first[this.owner[k] + 1];
  }

  // For how long the vehicle of a sample has been standing, s.
  stood(k) {
    const from = this.first[this.owner[k]];
    let back = k;
    while (back >= from && this.stands(back)) back--;
    return k - back;
  }

  // Standing vehicles by lane, and how many drive and stand in all; wrecks are no traffic.
  queues(time_s) {
    const lanes = new Map();
    let driving = 0, standing = 0;
    for (const k of this.at(time_s)) {
      if (this.kind[this.owner[k]] === WRECK) continue;
      driving++;
      if (!this.stands(k)) continue;
      standing++;
      const lane = this.lane(k);
      if (lane >= 0) lanes.set(lane, (lanes.get(lane) || 0) + 1);
    }
    return { lanes, driving, standing };
  }

  waits(lanes, time_s) {
    const wanted = new Set(lanes);
    let standing = 0, longest_s = 0, there = 0;
    for (const k of this.at(time_s)) {
      if (!wanted.has(this.lane(k)) || this.kind[this.owner[k]] === WRECK) continue;
      there++;
      if (!this.stands(k)) continue;
      standing++;
      longest_s = Math.max(longest_s, this.stood(k));
    }
    return { there, standing, longest_s };
  }

  // What a signal shows, and since when.
  light(signal, time_s) {
    const { times, codes } = this.lights[signal];
    const at = Math.max(last(times, Math.floor(time_s)), 0);
    return { state: this.states[codes[at]] || "", since_s: times[at] };
  }

  decision(signal, time_s) {
    const { times, rows } = this.decisions[signal];
    return rows[last(times, Math.floor(time_s))];
  }

  // Mean delay, vehicles outside and arrived, at a time; null in the warm-up.
  figures(time_s) {
    const at = (time_s - this.measured_s) / this.delayStep_s;
    if (at < 0 || !this.delay.length) return null;
    const low = Math.min(Math.floor(at), this.delay.length - 1);
    const high = Math.min(low + 1, this.delay.length - 1);
    const share = Math.min(at - low, 1);
    return {
      delay_s: (this.delay[low] + share * (this.delay[high] - this.delay[low])) / 10,
      outside: this.outside[low],
      arrived: this.arrived[low],
    };
  }
}
