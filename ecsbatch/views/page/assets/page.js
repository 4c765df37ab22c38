/* The live page of a run and its HTML report, by the same code.

   A `Model` has what is known of one run: its fleet, a byte for each server, and how the run goes on. Messages of the
   server change the model and mark what is stale; a `Painter` draws what is stale, a few milliseconds in a frame and
   none while nobody looks. Views read the model and write the page, by textContent alone: names, tags and messages come
   from a cloud and may hold anything. */
"use strict";

// ---- Words ----------------------------------------------------------------------------------------------------------

/** How a server may stand, by its number on the map. `rank` is its place in the list of servers: failures first. */
const KINDS = [
  {key: "waiting", label: "waiting", rank: 8},
  {key: "restarting", label: "restarting", rank: 3},
  {key: "not_healthy", label: "not healthy yet", rank: 4},
  {key: "unsettled", label: "unsettled", rank: 5},
  {key: "restarted", label: "restarted", rank: 9},
  {key: "failed", label: "failed", rank: 0},
  {key: "timed_out", label: "timed out", rank: 1},
  {key: "unknown", label: "unknown", rank: 2},
  {key: "skipped", label: "skipped", rank: 7},
  {key: "left_out", label: "left out", rank: 6},
];
const KIND = Object.fromEntries(KINDS.map((kind, number) => [kind.key, number]));
/** What servers are counted and filtered by: their kind, and beside it that they may still be down. */
const LEGEND = [...KINDS, {key: "not_back", label: "not back up"}];
const MAY_BE_DOWN = KINDS.length;
const FAILURES = [KIND.failed, KIND.timed_out, KIND.unknown];
const IN_FLIGHT = [KIND.restarting, KIND.not_healthy, KIND.unsettled];
/** Kinds that the legend names from the start; others join it once a server is one. */
const USUAL = [KIND.waiting, KIND.restarting, KIND.restarted, KIND.failed];
/** Bits of a server's byte beside its stage: it was not seen up since it ended; its health check has not passed yet. */
const NOT_BACK = 0x10,
  NOT_HEALTHY = 0x20;
/** The kind of each byte that a server can have: its stage, of which the two under way look alike. */
const KIND_OF = Uint8Array.from({length: 64}, (_, byte) => {
  const stage = byte & 15;
  if (stage === 1 || stage === 2) return byte & NOT_HEALTHY ? KIND.not_healthy : KIND.restarting;
  return stage < KINDS.length ? stage : KIND.unknown;
});
/** How a run stands where nobody has to do anything; the statuses that are an end; those in which it goes on. */
const CALM = new Set(["starting", "running", "checking", "soaking", "succeeded"]);
const OVER = new Set(["succeeded", "failed", "aborted"]);
const GOES_ON = new Set(["running", "paused"]);

const number = new Intl.NumberFormat("en-US");
const natural = new Intl.Collator("en", {numeric: true});
const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const calendar = new Intl.DateTimeFormat("sv", {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
});
const count = (n) => number.format(n);
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const dateOf = (at) => new Date(typeof at === "number" ? at * 1000 : at);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A time as that of the reader's place, seconds since 1970 or RFC 3339; with its date where that is not today's. */
function time(at) {
  const date = dateOf(at),
    text = clock.format(date);
  return date.toDateString() === new Date().toDateString() ? text : `${calendar.format(date).slice(0, 10)} ${text}`;
}

/** A span in whole seconds as the command line writes it: `13m08s`, `2h05m`. */
function span(seconds) {
  const two = (n) => String(n).padStart(2, "0"),
    whole = Math.max(0, Math.round(seconds)),
    minutes = whole < 3600 ? Math.floor(whole / 60) : Math.round(whole / 60);
  if (whole >= 3600) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  return minutes ? `${minutes}m${two(whole % 60)}s` : `${whole}s`;
}

// ---- The page's elements --------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

/** Make an element. Texts become text nodes, whatever they hold. */
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

/** Write a text where it has changed: what is the same costs no layout, and no reader says it again. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/** Give a list of elements as many children as there are items, and let each be written anew. */
function fill(parent, items, create, write) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, i) => {
    const child = parent.children[i] || parent.appendChild(create());
    write(child, item, i);
  });
}

/** A bar of how many are restarted, failed, left alone and under way; what is left of it waits. */
const BAR = [
  ["restarted", [KIND.restarted]],
  ["failed", FAILURES],
  ["other", [KIND.skipped, KIND.left_out]],
  ["flight", IN_FLIGHT],
];

function fillBar(bar, parts, total) {
  fill(
    bar,
    parts,
    () => make("span"),
    (part, n, i) => {
      part.className = `part-${BAR[i][0]}`;
      part.style.width = `${(100 * n) / Math.max(1, total)}%`;
    },
  );
}

// ---- Decoding -------------------------------------------------------------------------------------------------------

function bytesOf(base64) {
  const text = atob(base64),
    bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Numbers of 1, 2 or 4 bytes, the lowest first. */
function numbersOf(base64, width, signed = false) {
  const {buffer} = bytesOf(base64);
  if (width === 4) return signed ? new Int32Array(buffer) : new Uint32Array(buffer);
  return width === 2 ? new Uint16Array(buffer) : new Uint8Array(buffer);
}

function uuidsOf(base64) {
  const bytes = bytesOf(base64),
    hex = Array.from({length: 256}, (_, b) => b.toString(16).padStart(2, "0"));
  return Array.from({length: bytes.length / 16}, (_, i) => {
    let text = "";
    for (let j = 0; j < 16; j++)
      text += (j === 4 || j === 6 || j === 8 || j === 10 ? "-" : "") + hex[bytes[i * 16 + j]];
    return text;
  });
}

// ---- The model ------------------------------------------------------------------------------------------------------

/** Who the servers of a run are. It does not change while the run lives. */
class Fleet {
  constructor(data) {
    this.n = data.n;
    this.ids = data.ids.uuids === undefined ? data.ids.texts : uuidsOf(data.ids.uuids);
    this.names = data.names;
    this.waves = data.waves;
    this.groupings = new Map([["wave", this.#byWave()]]);
    for (const [key, column] of Object.entries(data.groups)) this.groupings.set(key, new Grouping(key, column));
  }

  #byWave() {
    const index = new Uint16Array(this.n).fill(this.waves.length);
    this.waves.forEach((wave, i) => index.fill(i, wave.start, wave.end));
    const values = this.waves.map((wave) => `Wave ${wave.number}${wave.label ? ` · ${wave.label}` : ""}`);
    if (index.includes(values.length)) values.push("Left alone by the plan");
    return new Grouping("wave", {values, of: index}, false);
  }

  name(i) {
    return (this.names && this.names[i]) || this.ids[i];
  }

  /** What a grouping says of a server; "" where there is no such grouping. */
  value(key, i) {
    const grouping = this.groupings.get(key);
    return grouping ? grouping.values[grouping.of[i]] : "";
  }

  /** A mark for each server whose name holds a text, or whose id begins with it. */
  matching(text) {
    const wanted = text.trim().toLowerCase(),
      found = new Uint8Array(this.n);
    this.lower ||= this.names ? this.names.map((name) => (name || "").toLowerCase()) : null;
    for (let i = 0; i < this.n; i++) {
      if (this.ids[i].toLowerCase().startsWith(wanted) || (this.lower && this.lower[i].includes(wanted))) found[i] = 1;
    }
    return found;
  }
}

/** Servers in groups: by wave, zone, host or a tag. */
class Grouping {
  constructor(key, column, sorted = true) {
    this.key = key;
    this.word = key.startsWith("tag:") ? key.slice(4) : key;
    this.values = column.values;
    this.of = column.of || numbersOf(column.index, column.width);
    this.size = new Uint32Array(this.values.length);
    for (const group of this.of) this.size[group]++;
    this.order = this.values.map((_, group) => group).filter((group) => this.size[group]);
    if (sorted) this.order.sort((a, b) => natural.compare(this.values[a], this.values[b]));
    this.#line();
  }

  label(group) {
    return this.values[group] || `(no ${this.word})`;
  }

  /** Line the servers up: those of a group beside each other, in the order in which they are restarted. */
  #line() {
    this.start = new Uint32Array(this.values.length);
    let next = 0;
    for (const group of this.order) {
      this.start[group] = next;
      next += this.size[group];
    }
    const free = this.start.slice();
    this.line = new Uint32Array(this.of.length);
    this.place = new Uint32Array(this.of.length);
    for (let i = 0; i < this.of.length; i++) {
      const place = free[this.of[i]]++;
      this.line[place] = i;
      this.place[i] = place;
    }
  }
}

/** How many servers of each group are of each kind; kept right server by server. */
class Tally {
  constructor(grouping, cells) {
    this.grouping = grouping;
    this.counts = new Int32Array(grouping.values.length * KINDS.length);
    for (let i = 0; i < cells.length; i++) this.counts[grouping.of[i] * KINDS.length + KIND_OF[cells[i] & 63]]++;
  }

  move(i, was, is) {
    const row = this.grouping.of[i] * KINDS.length;
    this.counts[row + was]--;
    this.counts[row + is]++;
  }

  of(group, kinds) {
    let sum = 0;
    for (const kind of kinds) sum += this.counts[group * KINDS.length + kind];
    return sum;
  }

  ended(group) {
    return this.grouping.size[group] - this.of(group, [KIND.waiting, ...IN_FLIGHT]);
  }
}

/** Lines of events that are kept. */
const LATEST = 200;

/** What is known of one run. */
class Model {
  /** `times` are those of a report; null for a run that is followed live. */
  constructor(runId, fleet, painter, times) {
    Object.assign(this, {runId, fleet, painter, times, lost: false});
    this.cells = new Uint8Array(fleet.n);
    this.whole = new Int32Array(LEGEND.length);
    this.details = new Map();
    this.progress = null;
    this.timeline = null;
    this.feed = [];
    this.skew = 0;
    this.filter = new Filter(this);
    this.group("wave");
  }

  group(key) {
    this.grouping = this.fleet.groupings.get(key) || this.fleet.groupings.get("wave");
    this.#count();
  }

  #count() {
    const {groupings} = this.fleet,
      tallies = new Map();
    // The waves have a list of their own: beside a map by wave the table is by zone.
    const beside = (this.grouping.key === "wave" && groupings.get("zone")) || this.grouping;
    for (const grouping of [this.grouping, groupings.get("wave"), beside]) {
      if (!tallies.has(grouping)) tallies.set(grouping, new Tally(grouping, this.cells));
    }
    this.tally = tallies.get(this.grouping);
    this.waves = tallies.get(groupings.get("wave"));
    this.table = tallies.get(beside);
    this.tallies = [...tallies.values()];
    this.whole.fill(0);
    for (const cell of this.cells) {
      this.whole[KIND_OF[cell & 63]]++;
      if (cell & NOT_BACK) this.whole[MAY_BE_DOWN]++;
    }
  }

  /** Begin anew from all that the server knows. */
  snapshot(data) {
    this.cells.set(bytesOf(data.cells));
    this.details.clear();
    // Whoever comes back is told only the lines since.
    const [first] = data.feed || [];
    if (first) this.feed = [...this.feed.filter(({seq}) => seq < first.seq), ...data.feed].slice(-LATEST);
    this.timeline = data.timeline || null;
    this.#learn(data);
    this.#count();
    this.painter.stale("map", "figures", "counts", "list", "charts", "feed");
  }

  /** Take over what has changed since. Returns the servers that did. */
  change(data) {
    const at = data.at || [],
      to = data.to || [];
    for (let j = 0; j < at.length; j++) this.#set(at[j], to[j]);
    this.#learn(data);
    if (at.length) this.painter.stale("cells", "counts", "list");
    if (data.timeline) {
      this.#extend(data.timeline);
      this.painter.stale("charts");
    }
    if (data.feed && data.feed.length) {
      this.feed = [...this.feed, ...data.feed].slice(-LATEST);
      this.painter.stale("feed");
    }
    this.painter.stale("figures");
    return at;
  }

  #set(i, cell) {
    const before = this.cells[i],
      was = KIND_OF[before & 63],
      is = KIND_OF[cell & 63];
    this.cells[i] = cell;
    this.whole[MAY_BE_DOWN] += ((cell & NOT_BACK) - (before & NOT_BACK)) / NOT_BACK;
    if (was === is) return;
    this.whole[was]--;
    this.whole[is]++;
    for (const tally of this.tallies) tally.move(i, was, is);
  }

  #learn(data) {
    const details = data.details;
    if (details) details.at.forEach((i, row) => this.details.set(i, details.values[details.what[row]]));
    if (!data.progress) return;
    this.progress = data.progress;
    this.skew = Date.now() - Date.parse(data.progress.at);
  }

  /** Replace the end of the timeline, from a bucket on. */
  #extend(tail) {
    const old = this.timeline || {},
      from = tail.from || 0;
    const fresh = {...old, ...tail};
    for (const [name, values] of Object.entries(tail)) {
      if (Array.isArray(values)) fresh[name] = [...(old[name] || []).slice(0, from), ...values];
    }
    this.timeline = fresh;
  }

  kind(i) {
    return KIND_OF[this.cells[i] & 63];
  }

  /** What is known beyond its kind of a server that has ended; of one that is tried again nothing counts any more. */
  detail(i) {
    return (this.kind(i) >= KIND.restarted && this.details.get(i)) || null;
  }

  reason(i) {
    const detail = this.detail(i);
    return (detail && (detail.reason || detail.code)) || KINDS[this.kind(i)].label;
  }

  host(i) {
    const detail = this.details.get(i);
    return this.fleet.value("host", i) || (detail && detail.host) || "";
  }

  sum(kinds) {
    return kinds.reduce((sum, kind) => sum + this.whole[kind], 0);
  }

  get ended() {
    return this.fleet.n - this.sum([KIND.waiting, ...IN_FLIGHT]);
  }

  /** Seconds from now to a time of the server's clock, by the server's clock. */
  until(stamp) {
    return (Date.parse(stamp) + this.skew - Date.now()) / 1000;
  }

  get goesOn() {
    const progress = this.progress;
    return Boolean(progress) && GOES_ON.has(progress.status) && progress.standing !== "orphaned";
  }
}

/** Which servers are looked at: by kind, text, reason, host, zone, group. Nothing but a person changes it. */
class Filter {
  constructor(model) {
    this.model = model;
    this.kinds = new Set();
    this.text = "";
    this.matching = null;
    this.only = new Map();
  }

  get active() {
    return this.kinds.size > 0 || this.text !== "" || this.only.size > 0;
  }

  search(text) {
    this.text = text;
    this.matching = text.trim() ? this.model.fleet.matching(text) : null;
  }

  /** Look only at servers with a value, or at all again where that is what is looked at. */
  toggle(key, value) {
    if (this.only.get(key) === value) this.only.delete(key);
    else this.only.set(key, value);
  }

  toggleKind(kind) {
    if (!this.kinds.delete(kind)) this.kinds.add(kind);
  }

  clear() {
    this.kinds.clear();
    this.only.clear();
    this.search("");
  }

  has(i) {
    const {model, kinds} = this;
    const down = kinds.has(MAY_BE_DOWN) && model.cells[i] & NOT_BACK;
    if (kinds.size && !down && !kinds.has(model.kind(i))) return false;
    if (this.matching && !this.matching[i]) return false;
    for (const [key, value] of this.only) if (this.#value(key, i) !== value) return false;
    return true;
  }

  #value(key, i) {
    if (key === "reason") return this.model.reason(i);
    return key === "host" ? this.model.host(i) : this.model.fleet.value(key, i);
  }

  /** All that a reload needs to look at the same. */
  write(query) {
    const kinds = [...this.kinds].map((kind) => LEGEND[kind].key);
    if (kinds.length) query.set("show", kinds.join(","));
    if (this.text) query.set("find", this.text);
    for (const [key, value] of this.only) query.set(`only:${key}`, value);
  }

  read(query) {
    const wanted = (query.get("show") || "").split(",");
    LEGEND.forEach(({key}, kind) => wanted.includes(key) && this.kinds.add(kind));
    this.search(query.get("find") || "");
    for (const [key, value] of query) if (key.startsWith("only:")) this.only.set(key.slice(5), value);
  }
}

// ---- Drawing in time ------------------------------------------------------------------------------------------------

const FRAME_BUDGET = 4;

/** Draws what is stale: the map in each frame, other views one after another, each only so often. */
class Painter {
  constructor() {
    this.views = [];
    this.asked = 0;
    this.timer = 0;
    this.ends = new AbortController();
    document.addEventListener("visibilitychange", () => this.#ask(), {signal: this.ends.signal});
  }

  /** Draw a view when one of its topics is stale, at most once in so many milliseconds. */
  add(topics, every, draw) {
    this.views.push({topics, every, draw, last: -Infinity, stale: false});
  }

  stale(...topics) {
    for (const view of this.views) if (view.topics.some((topic) => topics.includes(topic))) view.stale = true;
    this.#ask();
  }

  #ask() {
    if (document.hidden || this.asked) return;
    this.asked = requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now) {
    this.asked = 0;
    const begun = performance.now();
    let next = Infinity;
    for (const view of this.views) {
      if (!view.stale) continue;
      const due = view.last + view.every;
      const spent = performance.now() - begun > FRAME_BUDGET;
      // What is drawn in every frame comes first in the list; the others share what is left of the frame.
      if (due <= now && !(spent && view.every)) {
        view.stale = false;
        view.last = now;
        view.draw();
      } else {
        next = Math.min(next, spent ? now : due);
      }
    }
    // The view that waits longest is the first of the next frame.
    this.views.sort((a, b) => (a.every ? 1 : 0) - (b.every ? 1 : 0) || a.last + a.every - b.last - b.every);
    if (next <= now) this.#ask();
    else if (next < Infinity) this.#later(next - now);
  }

  #later(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), wait);
  }

  close() {
    this.ends.abort();
    cancelAnimationFrame(this.asked);
    clearTimeout(this.timer);
    this.views = [];
  }
}

// ---- Cells ----------------------------------------------------------------------------------------------------------

/** The colours of the stylesheet, read once for each theme. */
class Palette {
  constructor() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.kinds = KINDS.map((kind) => colour(kind.key.replace("_", "-")));
    for (const name of ["surface", "text", "muted", "line", "accent", "waiting-edge", "mark"])
      this[name] = colour(name);
  }
}

/** Draw one server's cell: each kind differs from the others by its shape as well, where there is room for one. */
function paintCell(context, kind, size, palette, notBack = false) {
  const colour = palette.kinds[kind],
    line = Math.max(1, Math.round(size / 8));
  context.fillStyle = context.strokeStyle = colour;
  if (size < 6) {
    context.fillRect(0, 0, size, size);
  } else {
    context.save();
    path(context, [
      [0, 0],
      [size, 0],
      [size, size],
      [0, size],
    ]);
    context.clip();
    SHAPES[kind](context, size, line, palette);
    context.restore();
  }
  if (notBack) {
    const edge = Math.max(2, Math.round(size * 0.45));
    context.fillStyle = palette.text;
    path(context, [
      [size - edge, 0],
      [size, 0],
      [size, edge],
    ]);
    context.fill();
  }
}

function path(context, points) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
}

function stroke(context, width, ...lines) {
  context.lineWidth = width;
  for (const points of lines) {
    path(context, points);
    context.stroke();
  }
}

function frame(context, size, line) {
  context.lineWidth = line;
  context.strokeRect(line / 2, line / 2, size - line, size - line);
}

const SHAPES = {
  [KIND.waiting](context, size, _, palette) {
    context.fillRect(0, 0, size, size);
    context.strokeStyle = palette["waiting-edge"];
    frame(context, size, 1);
  },
  [KIND.restarting](context, size, line) {
    path(context, [
      [0, size],
      [size, 0],
      [size, size],
    ]);
    context.fill();
    frame(context, size, line);
  },
  [KIND.not_healthy](context, size, line) {
    frame(context, size, line);
    const step = Math.max(3, size / 3);
    for (let x = -size; x < size; x += step)
      stroke(context, line, [
        [x, size],
        [x + size, 0],
      ]);
  },
  [KIND.unsettled](context, size) {
    frame(context, size, Math.max(2, Math.round(size / 3.5)));
  },
  [KIND.restarted](context, size) {
    context.fillRect(0, 0, size, size);
  },
  [KIND.failed](context, size, line, palette) {
    context.fillRect(0, 0, size, size);
    const a = size * 0.22,
      b = size - a;
    context.strokeStyle = palette.mark;
    stroke(
      context,
      line * 1.3,
      [
        [a, a],
        [b, b],
      ],
      [
        [a, b],
        [b, a],
      ],
    );
  },
  [KIND.timed_out](context, size, line, palette) {
    context.fillRect(0, 0, size, size);
    context.strokeStyle = palette.mark;
    stroke(context, line * 1.6, [
      [size * 0.2, size / 2],
      [size * 0.8, size / 2],
    ]);
  },
  [KIND.unknown](context, size, _, palette) {
    context.fillRect(0, 0, size, size);
    context.fillStyle = palette.mark;
    const dot = Math.max(2, Math.round(size * 0.34)),
      at = Math.round((size - dot) / 2);
    context.fillRect(at, at, dot, dot);
  },
  [KIND.skipped](context, size) {
    const inset = Math.max(1, Math.round(size * 0.25));
    context.fillRect(inset, inset, size - 2 * inset, size - 2 * inset);
  },
  [KIND.left_out](context, size, line) {
    frame(context, size, line);
    stroke(context, line, [
      [0, size],
      [size, 0],
    ]);
  },
};

/** Every look of a cell at one size, as pixels that are copied to the map. */
class Sprites {
  constructor(size, ratio, palette) {
    this.size = size;
    this.looks = [];
    const canvas = make("canvas", {width: size, height: size});
    const context = canvas.getContext("2d", {willReadFrequently: true});
    for (let look = 0; look < KINDS.length * 4; look++) {
      // Without a gap cells of one kind are one area; in small ones a gap would be most of it.
      const gap = size < 6 * ratio ? 0 : size < 14 * ratio ? Math.round(ratio) : 2 * Math.round(ratio);
      context.globalAlpha = 1;
      context.fillStyle = palette.surface;
      context.fillRect(0, 0, size, size);
      context.globalAlpha = look & 1 ? 0.14 : 1;
      paintCell(context, look >> 2, size - gap, palette, Boolean(look & 2));
      this.looks.push(new Uint32Array(context.getImageData(0, 0, size, size).data.buffer));
    }
    this.background = this.#solid(context, palette.surface);
  }

  #solid(context, colour) {
    context.globalAlpha = 1;
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
  }

  of(kind, notBack, faded) {
    return this.looks[kind * 4 + (notBack ? 2 : 0) + (faded ? 1 : 0)];
  }
}

/** Small pictures of the cells for legend, lists and tables. */
class Swatches {
  constructor(palette) {
    this.urls = LEGEND.map((_, kind) => {
      const canvas = make("canvas", {width: 24, height: 24}),
        context = canvas.getContext("2d");
      const marked = kind === MAY_BE_DOWN;
      paintCell(context, marked ? KIND.restarted : kind, 24, palette, marked);
      return canvas.toDataURL();
    });
  }

  set(image, kind) {
    const url = this.urls[kind];
    if (image.src !== url) image.src = url;
    image.dataset.kind = kind;
  }

  make(kind) {
    const image = make("img", {className: "swatch", alt: "", width: 12, height: 12});
    this.set(image, kind);
    return image;
  }
}

// ---- The map --------------------------------------------------------------------------------------------------------

const LABEL = 17,
  LARGEST = 30,
  DEEPEST = 48,
  HIGHEST = 620,
  MANY = 20_000,
  MOST_RINGS = 60;

/** Where the groups' blocks of cells lie: in cells, plus a part in pixels that no zoom changes. */
class Layout {
  constructor(grouping, width, height, ratio) {
    const groups = grouping.order.length;
    this.grouping = grouping;
    this.gap = Math.round((groups > 400 ? 2 : groups > 60 ? 8 : 14) * ratio);
    this.label = groups > 400 ? 0 : Math.round(LABEL * ratio);
    this.cols = new Uint32Array(grouping.values.length);
    this.at = grouping.values.map(() => null);
    // As large as fits, down to what can still be seen.
    const smallest = Math.round(2 * Math.min(ratio, 2));
    this.size = Math.round(LARGEST * ratio);
    while (this.#pack(this.size, width, ratio) > height && this.size > smallest) this.size--;
  }

  /** Set block beside block, shelf below shelf; returns how many pixels high that is. */
  #pack(size, width, ratio) {
    const {grouping} = this,
      most = Math.max(1, Math.floor(width / size));
    const flat = grouping.order.length > 12 ? 3 : 9,
      shelves = {cells: 0, pixels: this.label};
    let x = {cells: 0, pixels: 0},
      high = 0;
    for (const group of grouping.order) {
      const n = grouping.size[group],
        wanted = Math.ceil(Math.sqrt(n * flat));
      // What would leave less than half of the shelf to others takes all of it.
      const cols = Math.min(n, wanted > most / 2 ? most : wanted);
      // A label that is cut off after three letters says nothing.
      const least = this.label ? Math.min(grouping.label(group).length, 22) * 6.6 * ratio + 4 : 0;
      const wide = Math.max(cols * size, least);
      if (x.cells * size + x.pixels + wide > width && high) {
        shelves.cells += high;
        shelves.pixels += this.gap + this.label;
        x = {cells: 0, pixels: 0};
        high = 0;
      }
      this.cols[group] = cols;
      this.at[group] = {x: x.cells, dx: x.pixels, y: shelves.cells, dy: shelves.pixels, rows: Math.ceil(n / cols)};
      x = {cells: x.cells + cols, pixels: x.pixels + this.gap + Math.max(0, Math.ceil(wide - cols * size))};
      high = Math.max(high, Math.ceil(n / cols));
    }
    this.high = {cells: shelves.cells + high, pixels: shelves.pixels};
    return this.high.cells * size + this.high.pixels;
  }

  width(size) {
    let most = 0;
    for (const group of this.grouping.order) {
      const at = this.at[group];
      most = Math.max(most, (at.x + this.cols[group]) * size + at.dx);
    }
    return most;
  }

  height(size) {
    return this.high.cells * size + this.high.pixels;
  }
}

/** One canvas on which every server is a cell. */
class FleetMap {
  constructor(model, {onPick, onMove}) {
    this.model = model;
    this.onPick = onPick;
    this.onMove = onMove;
    this.box = $("map");
    this.canvas = $("cells");
    this.context = this.canvas.getContext("2d", {willReadFrequently: true});
    this.labels = $("labels").getContext("2d");
    this.changed = new Uint32Array(model.fleet.n);
    this.changes = 0;
    this.whole = true;
    this.focus = -1;
    this.kept = false;
    this.hover = -1;
    this.pan = {x: 0, y: 0};
    this.ends = new AbortController();
    this.recolour();
    this.#listen();
    new MapPointer(this);
  }

  recolour() {
    this.palette = new Palette();
    this.sprites = null;
    this.whole = true;
  }

  #listen() {
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.box);
    this.canvas.addEventListener("keydown", (event) => this.#key(event), {signal: this.ends.signal});
    this.canvas.addEventListener("focus", () => this.#focused(), {signal: this.ends.signal});
    this.canvas.addEventListener("blur", () => this.#rings(), {signal: this.ends.signal});
  }

  close() {
    this.observer.disconnect();
    this.ends.abort();
  }

  /** Set the canvas as wide as its box, and as high as its cells need. */
  resize() {
    const ratio = window.devicePixelRatio || 1,
      width = Math.floor(this.box.clientWidth * ratio);
    if (!width || (this.image && this.image.width === width && this.ratio === ratio)) return;
    this.ratio = ratio;
    this.regroup(width);
  }

  regroup(width = this.image && this.image.width) {
    if (!width) return;
    const {ratio, model} = this,
      share = model.fleet.n > MANY ? 0.7 : 0.55;
    const most = Math.round(Math.max(300, Math.min(HIGHEST, innerHeight * share)) * ratio);
    this.layout = new Layout(model.grouping, width, most, ratio);
    const height = Math.max(Math.round(84 * ratio), Math.min(most, this.layout.height(this.layout.size)));
    for (const canvas of [this.canvas, this.labels.canvas]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.box.style.height = `${height / ratio}px`;
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.size = 0;
    this.zoomTo(this.layout.size);
  }

  get zoomed() {
    return this.size > this.layout.size;
  }

  /** Draw cells of another size, and keep a point where it is. */
  zoomTo(size, x = this.image.width / 2, y = this.image.height / 2) {
    const least = this.layout.size,
      most = Math.max(Math.round(DEEPEST * this.ratio), least);
    const before = this.size && this.#unit(x, y);
    this.size = Math.min(most, Math.max(least, Math.round(size)));
    if (before) {
      const at = this.layout.at[before.group];
      this.pan.x = (at.x + before.col) * this.size + at.dx - x;
      this.pan.y = (at.y + before.row) * this.size + at.dy - y;
    }
    this.box.dataset.zoomed = this.zoomed;
    this.moveBy(0, 0);
  }

  moveBy(dx, dy) {
    const {width, height} = this.image,
      {layout, size, pan} = this;
    pan.x = Math.round(Math.max(0, Math.min(pan.x + dx, layout.width(size) - width)));
    pan.y = Math.round(Math.max(0, Math.min(pan.y + dy, layout.height(size) - height)));
    this.whole = true;
    this.model.painter.stale("cells");
    this.#rings();
  }

  /** The block that is nearest to a point, and the point in its cells. */
  #unit(x, y) {
    let best = null,
      least = Infinity;
    for (const group of this.model.grouping.order) {
      const [left, top] = this.#corner(group),
        wide = this.layout.cols[group] * this.size;
      const high = this.layout.at[group].rows * this.size;
      const far = Math.max(left - x, 0, x - left - wide) + Math.max(top - y, 0, y - top - high);
      if (far < least) {
        least = far;
        best = {group, col: (x - left) / this.size, row: (y - top) / this.size, far};
      }
    }
    return best;
  }

  #corner(group) {
    const at = this.layout.at[group];
    return [at.x * this.size + at.dx - this.pan.x, at.y * this.size + at.dy - this.pan.y];
  }

  /** The server at a point of the canvas, in its own pixels; -1 for none. */
  serverAt(x, y) {
    const unit = this.image && this.#unit(x, y);
    if (!unit || unit.far > 0) return -1;
    const {grouping} = this.model,
      cols = this.layout.cols[unit.group];
    const col = Math.min(Math.floor(unit.col), cols - 1),
      rank = Math.floor(unit.row) * cols + col;
    return rank >= 0 && rank < grouping.size[unit.group] ? grouping.line[grouping.start[unit.group] + rank] : -1;
  }

  #cornerOf(i) {
    const {grouping} = this.model,
      group = grouping.of[i],
      cols = this.layout.cols[group];
    const rank = grouping.place[i] - grouping.start[group],
      [left, top] = this.#corner(group);
    return [left + (rank % cols) * this.size, top + Math.floor(rank / cols) * this.size];
  }

  mark(servers) {
    if (this.changes + servers.length > this.changed.length / 4) this.whole = true;
    if (this.whole) return;
    for (const i of servers) this.changed[this.changes++] = i;
  }

  /** Draw what has changed. Pixels are written to memory and copied at once: 50,000 cells are no more calls than one. */
  draw() {
    if (!this.image) return;
    if (!this.sprites || this.sprites.size !== this.size)
      this.sprites = new Sprites(this.size, this.ratio, this.palette);
    this.filtered = this.model.filter.active;
    if (this.whole) this.#drawAll();
    else if (this.changes) this.#drawChanged();
    this.changes = 0;
    this.whole = false;
  }

  #drawAll() {
    this.pixels.fill(this.sprites.background);
    const {grouping} = this.model,
      {width, height} = this.image,
      size = this.size;
    for (const group of grouping.order) {
      const [left, top] = this.#corner(group),
        cols = this.layout.cols[group],
        rows = this.layout.at[group].rows;
      const firstRow = Math.max(0, Math.floor(-top / size)),
        lastRow = Math.min(rows, Math.ceil((height - top) / size));
      const firstCol = Math.max(0, Math.floor(-left / size)),
        lastCol = Math.min(cols, Math.ceil((width - left) / size));
      for (let row = firstRow; row < lastRow; row++) {
        for (let col = firstCol; col < lastCol; col++) {
          const rank = row * cols + col;
          if (rank >= grouping.size[group]) break;
          this.#copy(grouping.line[grouping.start[group] + rank], left + col * size, top + row * size);
        }
      }
    }
    this.context.putImageData(this.image, 0, 0);
    this.drawLabels();
  }

  #drawChanged() {
    let left = Infinity,
      top = Infinity,
      right = 0,
      bottom = 0;
    for (let j = 0; j < this.changes; j++) {
      const [x, y] = this.#cornerOf(this.changed[j]);
      if (x <= -this.size || y <= -this.size || x >= this.image.width || y >= this.image.height) continue;
      this.#copy(this.changed[j], x, y);
      left = Math.min(left, x);
      top = Math.min(top, y);
      right = Math.max(right, x + this.size);
      bottom = Math.max(bottom, y + this.size);
    }
    if (right > left) this.context.putImageData(this.image, 0, 0, left, top, right - left, bottom - top);
  }

  /** Copy a server's look to a place, as far as that is on the canvas. */
  #copy(i, x, y) {
    const {width, height} = this.image,
      {pixels, size, model} = this,
      cell = model.cells[i];
    const look = this.sprites.of(KIND_OF[cell & 63], cell & NOT_BACK, this.filtered && !model.filter.has(i));
    const firstX = Math.max(0, -x),
      lastX = Math.min(size, width - x),
      lastY = Math.min(size, height - y);
    for (let row = Math.max(0, -y); row < lastY; row++) {
      const from = row * size,
        to = (y + row) * width + x;
      for (let col = firstX; col < lastX; col++) pixels[to + col] = look[from + col];
    }
  }

  /** Write the groups' names and counts above their blocks, and ring failures that are small. */
  drawLabels() {
    if (!this.image) return;
    const {labels, ratio, palette, layout} = this,
      {grouping, tally} = this.model;
    labels.clearRect(0, 0, this.image.width, this.image.height);
    this.#ringFailures();
    if (!layout.label) return;
    labels.textBaseline = "alphabetic";
    grouping.order.forEach((group, number) => {
      const [left, top] = this.#corner(group),
        cols = layout.cols[group];
      const bottom = top + layout.at[group].rows * this.size,
        next = grouping.order[number + 1];
      if (bottom < 0 || top - layout.label > this.image.height || left > this.image.width) return;
      // Where its block goes on above the canvas the label stays at the edge.
      const y = Math.max(top, Math.min(layout.label, bottom)),
        x = Math.max(left, 0);
      let room = this.image.width - x;
      if (next !== undefined && layout.at[next].y === layout.at[group].y)
        room = this.#corner(next)[0] - x - layout.gap / 2;
      if (y > top) {
        labels.fillStyle = palette.surface;
        labels.fillRect(x, y - layout.label, Math.min(room, cols * this.size), layout.label);
      }
      this.#label(group, x, y - 5 * ratio, room, tally);
    });
  }

  #label(group, x, y, room, tally) {
    const {labels, ratio, palette} = this,
      {grouping} = this.model;
    const name = grouping.label(group),
      ended = tally.ended(group),
      size = grouping.size[group];
    labels.font = `600 ${11 * ratio}px system-ui, sans-serif`;
    labels.fillStyle = palette.text;
    const shown = clipped(labels, name, room);
    labels.fillText(shown, x, y);
    const used = labels.measureText(shown).width + 8 * ratio;
    labels.font = `${11 * ratio}px system-ui, sans-serif`;
    labels.fillStyle = palette.muted;
    const counts = `${count(ended)} of ${count(size)}`;
    if (used + labels.measureText(counts).width <= room) labels.fillText(counts, x + used, y);
  }

  /** A single failure among 50,000 cells of 3 pixels would be missed. */
  #ringFailures() {
    const {model, labels, ratio, size} = this,
      failures = model.sum(FAILURES);
    if (size >= 5 * ratio || !failures || failures > MOST_RINGS) return;
    labels.strokeStyle = this.palette.kinds[KIND.failed];
    labels.lineWidth = Math.max(1, 1.25 * ratio);
    for (let i = 0; i < model.fleet.n; i++) {
      if (!FAILURES.includes(model.kind(i)) || (model.filter.active && !model.filter.has(i))) continue;
      const [x, y] = this.#cornerOf(i);
      labels.beginPath();
      labels.arc(x + size / 2, y + size / 2, size / 2 + 3 * ratio, 0, 7);
      labels.stroke();
    }
  }

  // Hover and focus are elements of their own: a pointer that moves draws nothing anew.

  #rings() {
    this.#ring($("ring-hover"), this.hover);
    this.#ring($("ring-focus"), document.activeElement === this.canvas || this.kept ? this.focus : -1);
  }

  #ring(ring, i) {
    const on = i >= 0 && this.image,
      [x, y] = on ? this.#cornerOf(i) : [-1, -1];
    const seen = on && x > -this.size && y > -this.size && x < this.image.width && y < this.image.height;
    show(ring, Boolean(seen));
    if (!seen) return;
    const side = this.size / this.ratio;
    ring.style.transform = `translate(${x / this.ratio - 2}px, ${y / this.ratio - 2}px)`;
    ring.style.width = ring.style.height = `${side + 4}px`;
  }

  over(i, x, y) {
    const tip = $("tip");
    if (i !== this.hover) {
      this.hover = i;
      this.#rings();
      show(tip, i >= 0);
      if (i >= 0) tip.replaceChildren(...this.describe(i));
    }
    if (i < 0) return;
    const left = Math.min(x + 14, this.box.clientWidth - tip.offsetWidth - 4);
    const top = y + 18 + tip.offsetHeight > this.box.clientHeight ? y - tip.offsetHeight - 10 : y + 18;
    tip.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  }

  describe(i) {
    const {fleet} = this.model,
      where = [fleet.value("zone", i), this.model.host(i)].filter(Boolean).join(" · ");
    const lines = [make("b", {}, fleet.name(i))];
    if (fleet.name(i) !== fleet.ids[i]) lines.push(make("span", {className: "id"}, fleet.ids[i]));
    if (where) lines.push(make("span", {}, where));
    return [...lines, make("span", {}, this.state(i))];
  }

  /** How a server stands, in words. */
  state(i) {
    const kind = this.model.kind(i),
      reason = this.model.reason(i);
    const words = [KINDS[kind].label];
    if (reason !== words[0]) words.push(reason);
    if (this.model.cells[i] & NOT_BACK) words.push("not back up");
    return words.join(", ");
  }

  // The keyboard walks from cell to cell.

  #focused() {
    if (this.focus < 0) this.focus = this.model.grouping.line[0] ?? -1;
    this.#rings();
  }

  goTo(i) {
    if (i < 0 || i >= this.model.fleet.n) return;
    this.focus = i;
    this.kept = true;
    if (this.image) this.#reveal(i);
    this.#rings();
    this.onMove(i);
  }

  #reveal(i) {
    const [x, y] = this.#cornerOf(i),
      {width, height} = this.image,
      size = this.size;
    const beyond = (at, most) => (at < 0 ? at - size : at + size > most ? at + 2 * size - most : 0);
    const dx = beyond(x, width),
      dy = beyond(y, height);
    if (dx || dy) this.moveBy(dx, dy);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.image) return;
    const {grouping} = this.model,
      place = this.focus < 0 ? 0 : grouping.place[this.focus];
    const cols = this.layout.cols[grouping.of[grouping.line[place]]],
      last = grouping.line.length - 1;
    const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cols, ArrowDown: cols, Home: -last, End: last};
    const does = {
      Enter: () => this.onPick(this.focus),
      " ": () => this.onPick(this.focus),
      "+": () => this.zoomTo(this.size * 1.4 + 1),
      "=": () => this.zoomTo(this.size * 1.4 + 1),
      "-": () => this.zoomTo(this.size / 1.4 - 1),
      0: () => this.zoomTo(0),
      f: () => this.goTo(this.#nextFailure(place)),
    };
    if (event.key in steps) {
      this.goTo(grouping.line[Math.max(0, Math.min(last, place + steps[event.key]))]);
    } else if (event.key in does) {
      does[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  }

  #nextFailure(place) {
    const {line} = this.model.grouping;
    for (let j = 1; j <= line.length; j++) {
      const i = line[(place + j) % line.length];
      if (FAILURES.includes(this.model.kind(i))) return i;
    }
    return -1;
  }
}

function clipped(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let kept = text.slice(0, 80);
  while (kept && context.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return kept ? `${kept}…` : "";
}

/** Mouse, pen and fingers on the map. */
class MapPointer {
  constructor(map) {
    this.map = map;
    this.down = new Map();
    const {
        canvas,
        ends: {signal},
      } = map,
      options = {signal};
    canvas.addEventListener("pointerdown", (event) => this.#pressed(event), options);
    canvas.addEventListener("pointermove", (event) => this.#moved(event), options);
    canvas.addEventListener("pointerup", (event) => this.#released(event), options);
    canvas.addEventListener("pointercancel", (event) => this.down.delete(event.pointerId), options);
    canvas.addEventListener("pointerleave", () => map.over(-1, 0, 0), options);
    canvas.addEventListener("wheel", (event) => this.#wheeled(event), {signal, passive: false});
  }

  #point(event) {
    const box = this.map.canvas.getBoundingClientRect();
    return {x: event.clientX - box.left, y: event.clientY - box.top};
  }

  #pressed(event) {
    this.down.set(event.pointerId, this.#point(event));
    this.dragged = 0;
    this.spread = this.#spread();
  }

  #moved(event) {
    const {map} = this,
      point = this.#point(event),
      before = this.down.get(event.pointerId);
    if (!before) {
      map.over(map.serverAt(point.x * map.ratio, point.y * map.ratio), point.x, point.y);
      return;
    }
    this.down.set(event.pointerId, point);
    this.dragged += Math.abs(point.x - before.x) + Math.abs(point.y - before.y);
    if (this.down.size === 2) {
      this.#pinched();
    } else if (map.zoomed && this.dragged > 4) {
      map.canvas.setPointerCapture(event.pointerId);
      map.over(-1, 0, 0);
      map.moveBy((before.x - point.x) * map.ratio, (before.y - point.y) * map.ratio);
    }
  }

  #spread() {
    const [a, b] = [...this.down.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  #pinched() {
    const {map} = this,
      [a, b] = [...this.down.values()],
      spread = this.#spread();
    const size = Math.round((map.size * spread) / (this.spread || spread));
    if (size === map.size) return;
    map.zoomTo(size, ((a.x + b.x) / 2) * map.ratio, ((a.y + b.y) / 2) * map.ratio);
    this.spread = spread;
  }

  #released(event) {
    if (!this.down.delete(event.pointerId) || this.dragged > 4) return;
    const {map} = this,
      point = this.#point(event),
      i = map.serverAt(point.x * map.ratio, point.y * map.ratio);
    if (i < 0) return;
    map.goTo(i);
    map.onPick(i);
  }

  /** A wheel scrolls the page, unless the map has the focus or Ctrl is held. */
  #wheeled(event) {
    const {map} = this;
    const meant = event.ctrlKey || event.metaKey || document.activeElement === map.canvas;
    if (!meant || !map.image || (!map.zoomed && event.deltaY > 0 && !event.ctrlKey)) return;
    event.preventDefault();
    const point = this.#point(event),
      step = event.deltaY < 0 ? 1.2 : 1 / 1.2;
    const size = event.deltaY < 0 ? Math.ceil(map.size * step) : Math.floor(map.size * step);
    map.zoomTo(size, point.x * map.ratio, point.y * map.ratio);
  }
}

// ---- Charts ---------------------------------------------------------------------------------------------------------

/** What is drawn over time: the line, the limit that it is held against, and how its last value reads. */
const CHARTS = [
  {
    title: "Quota in use",
    name: "tokens",
    limit: (line) => line.tokens.map(() => (line.quota ? line.quota.limit : null)),
    says: (value, limit) => `${count(value)}${limit ? ` of ${count(limit)}` : ""}`,
  },
  {
    title: "Sent in a minute",
    name: "submitted",
    values: (line) => inLastMinute(line.submitted, line.step),
    stepped: true,
    says: (value) => count(Math.round(value)),
  },
  {
    title: "Servers down",
    name: "down",
    now: (progress) => progress.down,
    limit: (line) => line.allowed,
    stepped: true,
    says: (value, limit) => `${count(value)}${limit === null || limit === undefined ? "" : ` of ${count(limit)}`}`,
  },
  {
    title: "Restarted",
    name: "restarted",
    values: (line) => sums(line.restarted),
    limit: (line) => sums(line.failed),
    failures: true,
    says: (value, failed) => `${count(value)}${failed ? `, ${count(failed)} failed` : ""}`,
  },
];

function sums(values) {
  let sum = 0;
  return values.map((value) => (sum += value));
}

/** How many there were within the minute before the end of each bucket. */
function inLastMinute(values, step) {
  const width = Math.max(1, Math.round(60 / step));
  let sum = 0;
  return values.map((value, i) => ((sum += value - (values[i - width] || 0)) * 60) / (width * step));
}

/** The run over time. */
class Charts {
  constructor(model) {
    this.model = model;
    this.box = $("charts");
    this.box.replaceChildren();
    this.charts = CHARTS.map((chart) => this.#figure(chart));
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.box);
    this.next = 0;
  }

  #figure(chart) {
    const value = make("b"),
      plot = make("div", {className: "plot", role: "img", "aria-label": chart.title});
    this.box.append(
      make("figure", {className: "card chart"}, make("figcaption", {}, make("span", {}, chart.title), value), plot),
    );
    return {chart, value, plot, drawn: null};
  }

  close() {
    this.observer.disconnect();
    for (const each of this.charts) if (each.drawn) each.drawn.destroy();
  }

  recolour() {
    for (const each of this.charts) {
      if (each.drawn) each.drawn.destroy();
      each.drawn = null;
    }
    this.model.painter.stale("charts");
  }

  resize() {
    for (const {drawn, plot} of this.charts) {
      if (drawn && drawn.width !== plot.clientWidth)
        drawn.setSize({width: plot.clientWidth, height: plot.clientHeight});
    }
  }

  /** Draw one chart after another: each call one, so that no frame has to draw all of them. */
  draw() {
    const line = this.model.timeline;
    if (!line || !line.restarted) return;
    if (this.charts.some(({drawn}) => !drawn)) {
      this.drawAll();
      return;
    }
    const each = this.charts[this.next];
    this.next = (this.next + 1) % this.charts.length;
    this.#draw(each, line);
    if (this.next) this.model.painter.stale("next chart");
  }

  drawAll() {
    if (this.model.timeline) for (const each of this.charts) this.#draw(each, this.model.timeline);
  }

  #draw(each, line) {
    const {chart} = each,
      values = chart.values ? chart.values(line) : line[chart.name];
    const limit = chart.limit ? chart.limit(line) : values.map(() => null);
    each.data = [values.map((_, i) => line.origin + i * line.step), values, limit];
    if (each.drawn) each.drawn.setData(each.data);
    else if (each.plot.clientWidth) each.drawn = this.#plot(each);
    this.#read(each, values.length - 1);
  }

  /** Write the value of a bucket beside the chart's title. */
  #read(each, i) {
    if (i === null || i === undefined || i < 0) i = each.data[0].length - 1;
    const {chart, data} = each,
      {progress} = this.model;
    // A bucket has the most that there was within it.
    const value = chart.now && progress && i === data[0].length - 1 ? chart.now(progress) : data[1][i];
    const text = i < 0 ? "" : chart.says(value, data[2][i]);
    say(each.value, text);
    each.plot.setAttribute("aria-label", `${each.chart.title} over time, at last ${text || "nothing"}`);
  }

  #plot(each) {
    const palette = new Palette(),
      {chart} = each,
      soft = (value) => (value >= 10000 ? `${value / 1000}k` : count(value));
    const axis = {stroke: palette.muted, font: "11px system-ui, sans-serif", ticks: {show: false}};
    const grid = {stroke: palette.line, width: 1},
      paths = chart.stepped ? uPlot.paths.stepped({align: 1}) : undefined;
    const options = {
      width: each.plot.clientWidth,
      height: each.plot.clientHeight,
      padding: [6, 16, 0, 0],
      legend: {show: false},
      cursor: {y: false, points: {show: false}, drag: {x: false, y: false}, sync: {key: "charts"}},
      scales: {y: {range: (_, least, most) => [0, Math.max(1, most * 1.08)]}},
      axes: [
        {
          ...axis,
          grid: {show: false},
          size: 22,
          space: 70,
          values: (_, at) => at.map((s) => clock.format(s * 1000).slice(0, at[1] - at[0] < 60 ? 8 : 5)),
        },
        {
          ...axis,
          grid,
          size: 40,
          space: 34,
          values: (_, at) => at.map((value) => (Number.isInteger(value) ? soft(value) : "")),
        },
      ],
      series: [
        {},
        {stroke: palette.accent, fill: `${palette.accent}24`, width: 1.5, paths, points: {show: false}},
        chart.failures
          ? {stroke: palette.kinds[KIND.failed], width: 1.5, points: {show: false}}
          : {
              stroke: palette.muted,
              width: 1,
              dash: [4, 3],
              points: {show: false},
              paths: uPlot.paths.stepped({align: 1}),
            },
      ],
      hooks: {setCursor: [(plot) => this.#read(each, plot.cursor.left < 0 ? null : plot.cursor.idx)]},
    };
    return new uPlot(options, each.data, each.plot);
  }
}

// ---- Views of a run -------------------------------------------------------------------------------------------------

/** Name, standing, what it waits for, and the figures. */
class Head {
  constructor(model) {
    this.model = model;
    say($("run-name"), model.runId);
  }

  draw() {
    const {model} = this,
      progress = model.progress;
    if (!progress) return;
    say($("standing"), progress.standing_text);
    $("standing").dataset.tone = this.tone;
    const label = progress.wave_label && !/^\d+$/.test(progress.wave_label) ? ` (${progress.wave_label})` : "";
    say($("wave-now"), progress.waves ? `wave ${Math.max(progress.wave, 1)} of ${progress.waves}${label}` : "");
    this.#overall();
    this.#figures(progress);
    this.#why(progress);
    this.tick();
    if (!model.times) document.title = `${this.percent} ${progress.standing_text} · ${model.runId}`;
  }

  get tone() {
    const {standing} = this.model.progress;
    return CALM.has(standing) ? (standing === "succeeded" ? "done" : "calm") : "urgent";
  }

  get percent() {
    return `${Math.floor((100 * this.model.ended) / Math.max(1, this.model.fleet.n))}%`;
  }

  #overall() {
    const {model} = this,
      parts = BAR.map(([, kinds]) => model.sum(kinds));
    fillBar($("bar"), parts, model.fleet.n);
    say($("percent"), this.percent);
    say($("ended"), `${count(model.ended)} of ${count(model.fleet.n)}`);
    const [restarted, failed, other, flight] = parts.map(count);
    $("bar").setAttribute(
      "aria-label",
      `${restarted} restarted, ${failed} failed, ${other} skipped or left out, ${flight} under way, of ${count(model.fleet.n)}`,
    );
  }

  #figures(progress) {
    const {model} = this,
      {limits, quota} = progress,
      flying = model.sum(IN_FLIGHT),
      notBack = model.whole[MAY_BE_DOWN],
      down = flying + notBack;
    const restarting = model.sum([KIND.restarting, KIND.unsettled]),
      unhealthy = model.whole[KIND.not_healthy];
    const notes = [];
    if (restarting) notes.push(`${count(restarting)} restarting`);
    if (unhealthy) notes.push(`${count(unhealthy)} not healthy yet`);
    if (notBack) notes.push(`${count(notBack)} not back`);
    const skipped = model.whole[KIND.skipped],
      rest = [`${count(model.whole[KIND.waiting])} waiting`];
    if (skipped) rest.unshift(`${count(skipped)} skipped`);
    if (model.whole[KIND.left_out]) rest.unshift(`${count(model.whole[KIND.left_out])} left out`);
    const kinds = FAILURES.filter((kind) => model.whole[kind]).map(
      (kind) => `${count(model.whole[kind])} ${KINDS[kind].label}`,
    );
    const forgiven = model.sum(FAILURES) - progress.failures;
    if (forgiven > 0) kinds.push(`${count(forgiven)} forgiven`);
    const pace = progress.per_minute === null ? "–" : count(Math.round(progress.per_minute));
    const left = progress.left_s === null ? "" : `about ${span(progress.left_s)} left at this pace`;
    const most = quota ? quota.lowered_to ?? quota.limit : null;
    const used = quota && quota.free !== null ? Math.max(0, most - quota.free) : null;
    fill(
      $("figures"),
      [
        {name: "Restarted", value: count(model.whole[KIND.restarted]), note: rest.join(", ")},
        {name: "Down now", value: count(down), most: limits.max_unavailable, part: down, note: notes.join(", ")},
        {
          name: "Failures",
          value: count(progress.failures),
          most: limits.max_failures,
          part: progress.failures,
          note: kinds.join(", "),
          bad: true,
        },
        {
          name: "Pace",
          value: pace,
          unit: "a minute",
          note: [left, left && progress.barriers.length ? `and ${progress.barriers.join(", ")}` : ""]
            .filter(Boolean)
            .join(", "),
        },
        {
          name: "Quota used",
          value: used === null ? "–" : count(used),
          most,
          part: used || 0,
          note: quota
            ? `in ${span(quota.window)}${quota.next_free_in >= 1 && !quota.free ? `, more in ${span(quota.next_free_in)}` : ""}`
            : "not known",
        },
      ],
      () => this.#figure(),
      (box, figure) => this.#write(box, figure),
    );
  }

  #figure() {
    return make(
      "div",
      {className: "figure"},
      make("dt"),
      make("dd", {className: "value"}, make("b"), " ", make("span")),
      make("dd", {className: "meter", "aria-hidden": "true"}, make("span")),
      make("dd", {className: "aside"}),
    );
  }

  #write(box, {name, value, unit, most, part, note, bad}) {
    const [dt, dd, meter, aside] = box.children,
      limited = most !== null && most !== undefined;
    say(dt, name);
    say(dd.firstElementChild, value);
    say(dd.lastElementChild, limited ? `of ${count(most)}${name === "Quota used" ? "" : " allowed"}` : unit || "");
    meter.dataset.shown = limited;
    meter.firstElementChild.style.width = limited ? `${Math.min(100, (100 * part) / Math.max(1, most))}%` : "0";
    box.dataset.bad = Boolean(bad && part > 0);
    say(aside, note || "");
  }

  #why(progress) {
    const waits = progress.waits_for;
    $("why").dataset.tone = this.tone;
    say($("why-text"), waits.text);
    const options = GOES_ON.has(progress.status) ? [] : progress.resume_options;
    const ways = options.map(({why, flags}) => [`ecsbatch resume ${this.model.runId}${flags}`, why]);
    for (const command of waits.commands) if (!ways.some(([known]) => known === command)) ways.push([command, ""]);
    // What has ended is told by a banner.
    show($("why"), !OVER.has(progress.status) || ways.length > 0);
    fill(
      $("why-ways"),
      ways,
      () => make("li", {}, make("code"), make("span")),
      (li, [command, why]) => {
        say(li.firstElementChild, command);
        say(li.lastElementChild, why);
      },
    );
  }

  /** What goes on with the time alone. */
  tick() {
    const {model} = this,
      progress = model.progress;
    if (!progress) return;
    const since = model.goesOn && !model.lost ? (Date.now() - model.skew - Date.parse(progress.at)) / 1000 : 0;
    say($("elapsed"), span(progress.elapsed_s + Math.max(0, since)));
    const {until} = progress.waits_for,
      left = until ? model.until(until) : 0;
    say($("why-until"), left > 0 ? `${span(left)} left, until ${time(until)}` : "");
  }
}

/** The waves: how far each is, and what stands behind it. */
class Waves {
  constructor(model) {
    this.model = model;
  }

  draw() {
    const {model} = this,
      {waves} = model.fleet;
    fill(
      $("waves"),
      waves,
      () => this.#row(),
      (row, wave, i) => this.#write(row, wave, i),
    );
  }

  #row() {
    return make(
      "li",
      {},
      make("b", {className: "wave-name"}),
      make("span", {className: "wave-count"}),
      make("div", {className: "bar small", "aria-hidden": "true"}),
      make("span", {className: "wave-note aside"}),
    );
  }

  #write(row, wave, i) {
    const {model} = this,
      tally = model.waves,
      n = wave.end - wave.start,
      [name, counts, bar, note] = row.children;
    const parts = BAR.map(([, kinds]) => tally.of(i, kinds));
    say(name, `${wave.number}${wave.label ? ` · ${wave.label}` : ""}`);
    say(counts, `${count(tally.ended(i))} of ${count(n)}`);
    fillBar(bar, parts, n);
    say(note, this.#note(wave, i, parts));
    row.dataset.now = Boolean(model.progress) && model.goesOn && Math.max(1, model.progress.wave) === wave.number;
  }

  #note(wave, i, [, failed]) {
    const {model} = this,
      progress = model.progress,
      notes = [];
    const over = model.waves.ended(i) === wave.end - wave.start;
    if (failed) notes.push(`${count(failed)} failed`);
    // A barrier stands behind the last wave that is over.
    const next = model.fleet.waves[i + 1];
    const last = over && next && model.waves.of(i + 1, [KIND.waiting]) === next.end - next.start;
    if (last && progress && model.goesOn) notes.push(...this.#barrier(progress, wave));
    if (!over && next) {
      if (wave.soak) notes.push(`then soaks ${span(wave.soak)}`);
      if (wave.hold) notes.push("then holds for promote");
    }
    return notes.join(", ");
  }

  #barrier({standing, standing_until: until, standing_text: text, hold}, wave) {
    const left = until ? Math.max(0, this.model.until(until)) : null;
    if (hold && hold.before_wave === wave.number + 1) {
      return [`held for promote${hold.since ? `, for ${span(-this.model.until(hold.since))} so far` : ""}`];
    }
    if (standing === "soaking") return [`soaks, ${left === null ? "" : `${span(left)} left`}`];
    return standing === "gate" ? [text] : [];
  }
}

const ROWS = 40;

/** The table of groups by outcome. */
class Matrix {
  constructor(model, swatches, changed) {
    this.model = model;
    this.swatches = swatches;
    this.changed = changed;
    this.kinds = [];
    $("matrix-rows").replaceChildren();
  }

  draw() {
    const {model} = this,
      {grouping} = model.table;
    this.#heads(grouping.word);
    const groups = grouping.order.length > ROWS ? this.#worst() : grouping.order;
    fill(
      $("matrix-rows"),
      groups,
      () => this.#row(),
      (row, group) => this.#write(row, grouping.label(group), this.#counts(group), group),
    );
    const total = KINDS.map((_, kind) => model.whole[kind]);
    fill(
      $("matrix-foot"),
      [total],
      () => make("tr", {}, make("th", {scope: "row"})),
      (row) => this.#write(row, "All", [model.fleet.n, ...this.kinds.map((kind) => total[kind])]),
    );
    const left = grouping.order.length - groups.length;
    show($("matrix-more"), left > 0);
    say($("matrix-more"), `${count(left)} more: these have the most failures and servers down.`);
  }

  #counts(group) {
    const {table} = this.model;
    return [table.grouping.size[group], ...this.kinds.map((kind) => table.of(group, [kind]))];
  }

  #worst() {
    const {table} = this.model,
      by = new Map();
    for (const group of table.grouping.order)
      by.set(group, table.of(group, FAILURES) * 1e7 + table.of(group, IN_FLIGHT));
    return [...table.grouping.order].sort((a, b) => by.get(b) - by.get(a)).slice(0, ROWS);
  }

  #heads(by) {
    const {model} = this,
      shown = KINDS.map((_, kind) => kind).filter(
        (kind) => USUAL.includes(kind) || model.whole[kind] || this.kinds.includes(kind),
      );
    const word = capital(by);
    say($("matrix-title"), `By ${by}`);
    say($("matrix-caption"), `Servers by ${by} and outcome`);
    if (this.word === word && shown.length === this.kinds.length) return;
    this.word = word;
    this.kinds = shown;
    const heads = shown.map((kind) =>
      make("th", {scope: "col", className: "n"}, this.swatches.make(kind), KINDS[kind].label),
    );
    $("matrix-head").replaceChildren(
      make("tr", {}, make("th", {scope: "col"}, word), make("th", {scope: "col", className: "n"}, "servers"), ...heads),
    );
    $("matrix-rows").replaceChildren();
  }

  #row() {
    const button = make("button", {type: "button", className: "link-like"});
    const row = make("tr", {}, make("th", {scope: "row"}, button));
    button.addEventListener("click", () => {
      const {
        filter,
        table: {grouping},
      } = this.model;
      filter.toggle(grouping.key, grouping.values[row.group]);
      this.changed();
    });
    return row;
  }

  #write(row, label, counts, group = -1) {
    row.group = group;
    const head = row.firstElementChild.firstElementChild || row.firstElementChild;
    say(head, label);
    if (group >= 0) {
      const {
        filter,
        table: {grouping},
      } = this.model;
      head.setAttribute("aria-pressed", filter.only.get(grouping.key) === grouping.values[group]);
    }
    while (row.children.length < counts.length + 1) row.append(make("td", {className: "n"}));
    while (row.children.length > counts.length + 1) row.lastElementChild.remove();
    counts.forEach((n, j) => {
      const cell = row.children[j + 1];
      say(cell, n ? count(n) : "·");
      cell.dataset.failed = Boolean(j && n && FAILURES.includes(this.kinds[j - 1]));
    });
  }
}

/** What each colour and shape means, how many there are, and a filter by it. */
class Legend {
  constructor(model, swatches, changed) {
    this.model = model;
    this.chips = LEGEND.map(({label}, kind) => this.#chip(label, kind, swatches, changed));
    $("legend").replaceChildren(...this.chips.map((chip) => chip.button));
  }

  #chip(label, kind, swatches, changed) {
    const number = make("b");
    const button = make("button", {type: "button", className: "chip"}, swatches.make(kind), `${label} `, number);
    button.addEventListener("click", () => {
      this.model.filter.toggleKind(kind);
      changed();
    });
    return {kind, button, number};
  }

  draw() {
    const {model} = this,
      {filter} = model;
    for (const {kind, button, number} of this.chips) {
      const n = model.whole[kind],
        pressed = filter.kinds.has(kind);
      if (n || pressed || USUAL.includes(kind)) show(button, true);
      else if (!button.dataset.seen) show(button, false);
      // What was shown once stays: a legend that jumps cannot be pressed.
      if (n) button.dataset.seen = "yes";
      say(number, count(n));
      button.setAttribute("aria-pressed", pressed);
    }
  }
}

/** The failures by reason, host and zone: each row a filter. */
class Facets {
  constructor(model, changed) {
    this.model = model;
    this.boxes = [
      ["reason", "Failures by reason"],
      ["host", "by host"],
      ["zone", "by zone"],
    ].map(([key, title]) => {
      const list = make("ul"),
        box = make(
          "div",
          {className: "facet", role: "group", "aria-label": `Failures by ${key}`},
          make("h3", {}, title),
          list,
        );
      return {key, box, list};
    });
    this.changed = changed;
    $("facets").replaceChildren(...this.boxes.map(({box}) => box));
  }

  draw() {
    const {model} = this,
      failed = [];
    for (let i = 0; i < model.fleet.n; i++) if (FAILURES.includes(model.kind(i))) failed.push(i);
    show($("facets"), failed.length > 0);
    const value = {
      reason: (i) => model.reason(i),
      host: (i) => model.host(i),
      zone: (i) => model.fleet.value("zone", i),
    };
    for (const {key, box, list} of this.boxes) {
      const numbers = new Map();
      for (const i of failed) numbers.set(value[key](i), (numbers.get(value[key](i)) || 0) + 1);
      const kept = model.filter.only.get(key);
      if (kept !== undefined && !numbers.has(kept)) numbers.set(kept, 0);
      const rows = [...numbers].sort((a, b) => b[1] - a[1] || natural.compare(a[0], b[0])).slice(0, 100);
      show(box, rows.length > 0 && !(rows.length === 1 && rows[0][0] === ""));
      fill(
        list,
        rows,
        () => this.#row(key),
        (row, [text, n]) => this.#write(row, key, text, n, rows[0][1]),
      );
    }
  }

  #row(key) {
    const button = make(
      "button",
      {type: "button", className: "facet-row"},
      make("span", {className: "facet-name"}),
      make("b"),
      make("i", {"aria-hidden": "true"}),
    );
    button.addEventListener("click", () => {
      this.model.filter.toggle(key, button.value);
      this.changed();
    });
    return make("li", {}, button);
  }

  #write(row, key, text, n, most) {
    const button = row.firstElementChild,
      [name, number, bar] = button.children;
    button.value = text;
    say(name, text || "(not known)");
    say(number, count(n));
    bar.style.width = `${(100 * n) / Math.max(1, most)}%`;
    button.setAttribute("aria-pressed", this.model.filter.only.get(key) === text);
  }
}

const ROW = 30,
  PRINTED = 200;

/** All servers that the filter leaves, failures first. Only rows that can be seen are in the page. */
class ServerList {
  constructor(model, swatches, {onPick, onFilter}) {
    this.model = model;
    this.swatches = swatches;
    this.onPick = onPick;
    this.onFilter = onFilter;
    this.box = $("list");
    this.rows = $("list-rows");
    this.above = make("tr", {className: "space", "aria-hidden": "true"}, make("td"));
    this.below = this.above.cloneNode(true);
    this.pool = [];
    this.found = new Uint32Array(0);
    // Rows and chips of a run that was shown before act on that one.
    this.rows.replaceChildren();
    $("filters").replaceChildren();
    for (const head of document.querySelectorAll("#list-table .took")) show(head, Boolean(model.times));
    this.ends = new AbortController();
    this.box.addEventListener("scroll", () => this.#window(), {passive: true, signal: this.ends.signal});
  }

  close() {
    this.ends.abort();
  }

  draw() {
    const {model} = this,
      {filter} = model,
      n = model.fleet.n;
    const heads = new Uint32Array(KINDS.length + 1),
      kept = new Uint8Array(n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      if (filter.active && !filter.has(i)) continue;
      kept[i] = 1;
      sum++;
      heads[KINDS[model.kind(i)].rank + 1]++;
    }
    for (let rank = 0; rank < KINDS.length; rank++) heads[rank + 1] += heads[rank];
    this.found = new Uint32Array(sum);
    for (let i = 0; i < n; i++) if (kept[i]) this.found[heads[KINDS[model.kind(i)].rank]++] = i;
    say(
      $("list-count"),
      sum === n ? `${plural(n, "server")}, failures first` : `${count(sum)} of ${plural(n, "server")}`,
    );
    this.#filters();
    this.#window();
  }

  #filters() {
    const {filter} = this.model,
      chips = [...filter.kinds].map((kind) => [LEGEND[kind].label, () => filter.toggleKind(kind)]);
    for (const [key, value] of filter.only) {
      const grouping = this.model.fleet.groupings.get(key),
        word = grouping ? grouping.word : key;
      chips.push([`${word === "wave" ? "" : `${word}: `}${value || "(not known)"}`, () => filter.toggle(key, value)]);
    }
    if (filter.text) chips.push([`“${filter.text}”`, () => filter.search("")]);
    if (chips.length > 1) chips.push(["clear all", () => filter.clear()]);
    fill(
      $("filters"),
      chips,
      () => this.#chip(),
      (chip, [text, off]) => {
        say(chip, text === "clear all" ? text : `${text} ×`);
        chip.setAttribute("aria-label", text === "clear all" ? "Clear all filters" : `Remove filter ${text}`);
        chip.off = off;
      },
    );
  }

  #chip() {
    const chip = make("button", {type: "button", className: "chip filter"});
    chip.addEventListener("click", () => {
      chip.off();
      this.onFilter();
    });
    return chip;
  }

  #window(most = 0) {
    const high = this.box.clientHeight || 360,
      all = this.found.length;
    const first = Math.max(0, Math.min(Math.floor(this.box.scrollTop / ROW) - 4, all - 1));
    const last = Math.min(all, most || first + Math.ceil(high / ROW) + 9);
    const shown = Math.max(0, last - first);
    while (this.pool.length < shown) this.pool.push(this.#row());
    if (this.rows.children.length !== shown + 2)
      this.rows.replaceChildren(this.above, ...this.pool.slice(0, shown), this.below);
    for (let j = 0; j < shown; j++) this.#write(this.pool[j], this.found[first + j], first + j);
    this.above.firstElementChild.style.height = `${first * ROW}px`;
    this.below.firstElementChild.style.height = `${(all - last) * ROW}px`;
    $("list-table").setAttribute("aria-rowcount", all + 1);
  }

  #row() {
    const button = make("button", {type: "button", className: "link-like"});
    const row = make(
      "tr",
      {},
      make("td", {}, this.swatches.make(0), make("span")),
      make("td", {}, button),
      make("td", {className: "wide id"}),
      make("td"),
      make("td", {className: "wide"}),
      make("td"),
      make("td", {className: "wide message"}),
    );
    if (this.model.times) row.append(make("td", {className: "n"}));
    button.addEventListener("click", () => this.onPick(row.server));
    return row;
  }

  #write(row, i, number) {
    const {model} = this,
      {fleet} = model,
      kind = model.kind(i),
      detail = model.detail(i);
    const [state, name, id, zone, host, reason, message, took] = row.children;
    row.server = i;
    row.setAttribute("aria-rowindex", number + 2);
    this.swatches.set(state.firstElementChild, kind);
    say(state.lastElementChild, KINDS[kind].label + (model.cells[i] & NOT_BACK ? ", not back" : ""));
    say(name.firstElementChild, fleet.name(i));
    say(id, fleet.ids[i]);
    say(zone, fleet.value("zone", i));
    say(host, model.host(i));
    say(reason, detail ? [detail.reason, detail.code].filter(Boolean).join(" ") : "");
    say(message, detail ? detail.message || "" : "");
    message.title = message.textContent;
    if (took) say(took, model.times.took(i));
  }

  /** A printed page has no scroll bar: it shows the first ones, also where a busy frame has left them for a later one. */
  print(on) {
    if (on) {
      this.box.scrollTop = 0;
      this.draw();
    }
    this.#window(on ? PRINTED : 0);
  }
}

/** What has happened, the newest first. */
class Feed {
  constructor(model) {
    this.model = model;
  }

  draw() {
    const events = this.model.feed.slice().reverse();
    show($("news"), events.length > 0);
    fill(
      $("feed"),
      events,
      () => make("li", {}, make("time"), make("span")),
      (row, event) => {
        row.dataset.level = event.level;
        say(row.firstElementChild, time(event.ts));
        say(row.lastElementChild, (event.level === "info" ? "" : event.level === "error" ? "✕ " : "! ") + event.text);
      },
    );
  }
}

/** The box that finds servers by name or id. */
class Search {
  constructor(model, {onGo, onFilter}) {
    this.model = model;
    this.input = $("search");
    this.list = $("found");
    this.onGo = onGo;
    this.ends = new AbortController();
    const options = {signal: this.ends.signal};
    this.input.addEventListener(
      "input",
      () => {
        model.filter.search(this.input.value);
        this.#offer();
        onFilter();
      },
      options,
    );
    this.input.addEventListener("keydown", (event) => this.#key(event), options);
    this.input.addEventListener("focus", () => this.#offer(), options);
    this.input.closest(".find").addEventListener(
      "focusout",
      (event) => {
        if (!event.currentTarget.contains(event.relatedTarget)) show(this.list, false);
      },
      options,
    );
    this.list.replaceChildren();
  }

  close() {
    this.ends.abort();
  }

  /** Show what the filter says, which somebody may have cleared elsewhere. */
  draw() {
    if (this.input.value !== this.model.filter.text) this.input.value = this.model.filter.text;
  }

  #offer() {
    const {matching} = this.model.filter,
      found = [];
    let sum = 0;
    if (matching) for (let i = 0; i < matching.length; i++) if (matching[i] && sum++ < 8) found.push(i);
    this.first = found.length ? found[0] : -1;
    const rows = matching ? [...found, -1] : [];
    fill(
      this.list,
      rows,
      () => this.#row(),
      (row, i) => {
        const button = row.firstElementChild;
        button.server = i;
        button.disabled = i < 0;
        say(button.firstElementChild, i < 0 ? `${plural(sum, "server")} found` : this.model.fleet.name(i));
        say(button.lastElementChild, i < 0 ? "" : this.model.fleet.ids[i]);
      },
    );
    show(this.list, rows.length > 0);
  }

  #row() {
    const button = make("button", {type: "button"}, make("b"), make("span", {className: "id"}));
    button.addEventListener("click", () => this.#go(button.server));
    return make("li", {}, button);
  }

  #key(event) {
    if (event.key === "Enter") this.#go(this.first);
    else if (event.key === "Escape") show(this.list, false);
    else if (event.key === "ArrowDown" && !this.list.hidden) this.list.querySelector("button").focus();
    else return;
    event.preventDefault();
  }

  #go(i) {
    if (i < 0) return;
    show(this.list, false);
    this.onGo(i);
  }
}

/** One server's story. */
class Panel {
  constructor(model, map, swatches, load) {
    Object.assign(this, {model, map, swatches, load, server: -1});
    this.ends = new AbortController();
    $("panel-close").addEventListener("click", () => this.hide(), {signal: this.ends.signal});
    $("panel").addEventListener("keydown", (event) => event.key === "Escape" && this.hide(), {
      signal: this.ends.signal,
    });
  }

  close() {
    this.ends.abort();
    show($("panel"), false);
  }

  hide() {
    this.server = -1;
    show($("panel"), false);
    this.map.canvas.focus({preventScroll: true});
  }

  async open(i, byHand = true) {
    if (i < 0) return;
    this.server = i;
    say($("panel-name"), this.model.fleet.name(i));
    show($("panel"), true);
    if (byHand) {
      $("panel-name").focus({preventScroll: true});
      this.#write(i, null);
    }
    this.seen = this.model.cells[i];
    try {
      const told = await this.load(i);
      if (this.server === i) this.#write(i, told);
    } catch (error) {
      if (this.server === i) this.#write(i, {failed: error.message});
    }
  }

  /** Ask again where the server has changed. */
  draw() {
    if (this.server >= 0 && this.model.cells[this.server] !== this.seen) this.open(this.server, false);
  }

  /** Write what the page knows of a server, and what the server's own story adds; null while that is asked for. */
  #write(i, told) {
    const {explain, story, failed} = told || {};
    const body = [this.#facts(i, (told && told.outcome) || {})];
    if (explain) {
      body.unshift(make("p", {className: "explain"}, explain.text));
      const ways = explain.commands.map((command) => make("li", {}, make("code", {}, command)));
      if (ways.length) body.push(make("ul", {className: "ways"}, ...ways));
    }
    if (story && story.length) {
      const lines = story.map(({ts, text}) => make("li", {}, make("time", {}, time(ts)), make("span", {}, text)));
      body.push(make("ol", {className: "story"}, ...lines));
    }
    if (failed) body.push(make("p", {className: "said"}, `Its story cannot be read now: ${failed}`));
    $("panel-body").replaceChildren(...body);
  }

  #facts(i, outcome) {
    const {model} = this,
      {fleet} = model,
      detail = model.detail(i) || {};
    const groups = [...fleet.groupings].map(([key, grouping]) => [
      capital(grouping.word),
      key === "host" ? model.host(i) : grouping.label(grouping.of[i]),
    ]);
    if (!fleet.groupings.has("host")) groups.push(["Host", model.host(i)]);
    const facts = [
      ["Id", fleet.ids[i]],
      ...groups,
      ["Code", outcome.error_code || detail.code],
      ["Message", outcome.message || detail.message],
      ["Attempts", outcome.attempts ? count(outcome.attempts) : ""],
      ["Job", outcome.job_id],
      ...(model.times ? model.times.facts(i) : []),
    ];
    const state = make("dd", {}, this.swatches.make(model.kind(i)), this.map.state(i));
    return make(
      "dl",
      {className: "facts"},
      make("dt", {}, "State"),
      state,
      ...facts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
    );
  }
}

const SPEAK_EVERY = 10_000;

/** Says to screen readers what matters, and rarely. */
class Voice {
  constructor(model, head) {
    Object.assign(this, {model, head, last: 0, said: ""});
  }

  draw() {
    const {model} = this,
      progress = model.progress;
    if (!progress) return;
    const failures = model.sum(FAILURES),
      tenth = Math.floor((10 * model.ended) / Math.max(1, model.fleet.n));
    const news = `${progress.standing}/${progress.wave}/${failures}/${tenth}`;
    if (news === this.said) return;
    const early = this.last + SPEAK_EVERY - Date.now();
    clearTimeout(this.wait);
    if (early > 0) {
      this.wait = setTimeout(() => model.painter.stale("voice"), early);
      return;
    }
    const text = `${progress.standing_text}, ${this.head.percent}, ${plural(failures, "failure")}`;
    if (this.said) say($("speaks"), text);
    this.said = news;
    this.last = Date.now();
    $("cells").setAttribute(
      "aria-label",
      `Map of ${plural(model.fleet.n, "server")} of run ${model.runId}: ${text}. ` +
        KINDS.map((kind, i) => [model.whole[i], kind.label])
          .filter(([n]) => n)
          .map(([n, label]) => `${count(n)} ${label}`)
          .join(", "),
    );
  }

  cell(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => say($("speaks-cell"), text), 200);
  }

  close() {
    clearTimeout(this.wait);
    clearTimeout(this.timer);
  }
}

// ---- A run on the page ----------------------------------------------------------------------------------------------

/** All views of one run, and what a person changes about them. */
class RunPage {
  constructor(runId, fleet, load, times = null) {
    this.painter = new Painter();
    const model = new Model(runId, fleet, this.painter, times);
    this.model = model;
    this.query = new URLSearchParams(location.hash.split("?")[1] || "");
    model.filter.read(this.query);
    model.group(this.query.get("by") || "wave");
    const changed = () => this.filtered(),
      swatches = new Swatches(new Palette());
    this.swatches = swatches;
    show($("run"), true);
    this.map = new FleetMap(model, {onPick: (i) => this.panel.open(i), onMove: (i) => this.#moved(i)});
    this.head = new Head(model);
    this.waves = new Waves(model);
    this.matrix = new Matrix(model, swatches, changed);
    this.legend = new Legend(model, swatches, changed);
    this.facets = new Facets(model, changed);
    this.list = new ServerList(model, swatches, {onPick: (i) => this.pick(i), onFilter: changed});
    this.feed = new Feed(model);
    this.charts = new Charts(model);
    this.panel = new Panel(model, this.map, swatches, load);
    this.search = new Search(model, {onGo: (i) => this.#go(i), onFilter: changed});
    this.voice = new Voice(model, this.head);
    this.#schedule();
    this.#controls();
    this.clock = setInterval(() => document.hidden || this.tick(), 1000);
    this.map.resize();
    this.#drawAll();
  }

  #schedule() {
    const {painter} = this;
    painter.add(["cells", "map"], 0, () => this.map.draw());
    painter.add(["figures", "counts"], 250, () => this.head.draw());
    painter.add(["counts", "filter"], 250, () => this.legend.draw());
    painter.add(["counts", "filter"], 500, () => this.matrix.draw());
    painter.add(["counts", "figures"], 500, () => this.waves.draw());
    painter.add(["counts"], 1000, () => this.map.drawLabels());
    painter.add(["list", "filter"], 1000, () => this.list.draw());
    painter.add(["list", "filter"], 1000, () => this.facets.draw());
    painter.add(["charts", "next chart"], 240, () => this.charts.draw());
    painter.add(["feed"], 500, () => this.feed.draw());
    painter.add(["counts", "figures", "voice"], 1000, () => this.voice.draw());
    painter.add(["counts"], 1000, () => this.panel.draw());
    painter.add(["filter"], 0, () => this.search.draw());
  }

  #controls() {
    this.ends = new AbortController();
    const on = (id, event, does) => $(id).addEventListener(event, does, {signal: this.ends.signal}),
      {map, model} = this;
    fill(
      $("group"),
      [...model.fleet.groupings],
      () => make("option"),
      (option, [key, grouping]) => {
        option.value = key;
        say(option, key.startsWith("tag:") ? `tag ${grouping.word}` : grouping.word);
      },
    );
    $("group").value = model.grouping.key;
    on("group", "change", () => this.group($("group").value));
    on("zoom-in", "click", () => map.zoomTo(map.size * 1.4 + 1));
    on("zoom-out", "click", () => map.zoomTo(map.size / 1.4 - 1));
    on("zoom-fit", "click", () => map.zoomTo(0));
  }

  group(key) {
    this.model.group(key);
    this.map.regroup();
    this.remember();
    this.#drawAll();
  }

  /** Draw all views of what a person has changed, now: who presses a button does not wait for its turn. */
  filtered() {
    this.map.whole = true;
    for (const view of this.painter.views) view.last = -Infinity;
    this.painter.stale("cells", "filter");
    this.remember();
  }

  #drawAll() {
    this.map.whole = true;
    this.painter.stale("map", "figures", "counts", "filter", "list", "charts", "feed");
  }

  /** Keep in the address what is looked at, so that a reload shows it again. */
  remember() {
    clearTimeout(this.remembering);
    // Browsers refuse to be told at each key that is pressed.
    this.remembering = setTimeout(() => this.#remember(), 250);
  }

  #remember() {
    const query = new URLSearchParams();
    if (this.model.grouping.key !== "wave") query.set("by", this.model.grouping.key);
    this.model.filter.write(query);
    const text = query.toString();
    history.replaceState(null, "", `#/${encodeURIComponent(this.model.runId)}${text ? `?${text}` : ""}`);
  }

  #moved(i) {
    this.voice.cell(
      `${this.model.fleet.name(i)}, ${this.model.grouping.label(this.model.grouping.of[i])}, ${this.map.state(i)}`,
    );
  }

  #go(i) {
    this.map.canvas.focus();
    this.map.goTo(i);
  }

  pick(i) {
    this.map.goTo(i);
    this.panel.open(i);
  }

  tick() {
    this.head.tick();
    this.waves.draw();
  }

  recolour() {
    const palette = new Palette();
    this.map.recolour();
    Object.assign(this.swatches, new Swatches(palette));
    for (const image of document.querySelectorAll("img.swatch")) {
      this.swatches.set(image, Number(image.dataset.kind));
    }
    this.charts.recolour();
    this.#drawAll();
  }

  print(on) {
    this.map.draw();
    this.charts.drawAll();
    this.list.print(on);
  }

  close() {
    clearInterval(this.clock);
    clearTimeout(this.remembering);
    this.ends.abort();
    const {map, list, charts, panel, search, voice, painter} = this;
    for (const part of [map, list, charts, panel, search, voice, painter]) part.close();
    show($("run"), false);
  }
}

// ---- Live -----------------------------------------------------------------------------------------------------------

/** Ask the server; an answer that is none says why. */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, {credentials: "same-origin", signal: AbortSignal.timeout(NO_ANSWER), ...options});
  } catch {
    throw new Error("The server does not answer.");
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const why =
    answer.status === 401 || answer.status === 403
      ? "The server does not know this browser any more: open the address again that the command has printed."
      : `It answered ${answer.status}.`;
  throw Object.assign(new Error(told.message || why), {status: answer.status});
}

/** Milliseconds after which a question is given up: steering may take ten seconds, a large fleet some more. */
const NO_ANSWER = 60_000;

/** Milliseconds. The server beats every 5 s where nothing happens; whoever has slept is out of patience sooner. */
const SILENCE = 12_000,
  NAP = 6000,
  LOOK = 1000,
  AGAIN = 2000;

/** A stream of the server's events: opened again whenever it breaks, or not even its beat is heard. */
class Stream {
  constructor(path, handlers, onState) {
    Object.assign(this, {path, handlers, onState, last: Date.now(), watched: Date.now()});
    this.#open();
    this.timer = setInterval(() => this.#watch(), LOOK);
    this.ends = new AbortController();
    const on = (target, event, does) => target.addEventListener(event, does, {signal: this.ends.signal});
    on(window, "online", () => this.again());
    on(window, "pageshow", ({persisted}) => persisted && this.again());
    on(window, "focus", () => this.#listen(NAP));
    on(document, "visibilitychange", () => document.hidden || this.#listen(NAP));
  }

  #open() {
    this.source = new EventSource(this.path);
    this.source.onerror = () => this.#broken();
    for (const [name, handle] of Object.entries(this.handlers)) {
      this.source.addEventListener(name, (event) => {
        this.last = Date.now();
        this.onState("on");
        handle(JSON.parse(event.data));
      });
    }
    this.source.addEventListener("beat", () => (this.last = Date.now()));
    this.source.addEventListener("end", ({data}) => this.onState("end", JSON.parse(data).text));
    this.source.addEventListener("resync", ({data}) => {
      this.onState("end", data ? JSON.parse(data).text : "");
      this.again();
    });
  }

  /** An EventSource tries again by itself, but not after an answer such as 401 or 503. */
  #broken() {
    this.onState("lost");
    if (this.source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.again(), AGAIN);
    ask("/api/session").catch((error) => error.status && this.onState("refused", error.message));
  }

  /** A laptop that slept has a connection that is open and may be dead; its clock has leapt. */
  #watch() {
    const slept = Date.now() - this.watched > NAP;
    this.watched = Date.now();
    this.#listen(slept ? NAP : SILENCE);
  }

  #listen(patience) {
    const silent = Date.now() - this.last;
    if (silent <= patience) return;
    this.onState(silent > SILENCE ? "lost" : "wait");
    this.again();
  }

  again() {
    this.source.close();
    clearTimeout(this.retry);
    this.last = Date.now();
    this.#open();
  }

  close() {
    this.source.close();
    clearInterval(this.timer);
    clearTimeout(this.retry);
    this.ends.abort();
  }
}

/** Says in the page's corner, and by a banner where it matters, whether what is seen is of now. */
class Link {
  constructor() {
    this.since = 0;
    this.farewell = "";
  }

  /** Take in that the stream is `on`, `lost` or `refused`, or that the server says why it is about to `end`. */
  set(state, at, why = "It is tried again and again.") {
    if (state === "end") {
      this.farewell = why;
      return;
    }
    if (state === "on") {
      this.since = 0;
      this.farewell = "";
      show($("banner-lost"), false);
    } else if (state !== "wait") {
      this.#lost(at, why);
    }
    const link = $("link"),
      words = {on: "live", wait: "connecting"};
    link.dataset.link = state in words ? state : this.farewell ? "over" : "lost";
    say(link, words[state] || (this.farewell ? "ended" : "not connected"));
  }

  #lost(at, why) {
    const banner = $("banner-lost"),
      seen = at ? ` What you see is of ${time(at)}.` : "";
    this.since ||= Date.now();
    // A server that has said farewell is no alarm.
    banner.classList.toggle("urgent", !this.farewell);
    say(banner, this.farewell || `Not connected since ${time(this.since / 1000)}.${seen} ${why}`);
    show(banner, true);
  }
}

/** Show what the server has to say about itself, such as that its store does not answer; "" ends that. */
function notice({text}) {
  say($("banner-notice"), text);
  show($("banner-notice"), text !== "");
}

/** Say that the store is frozen, null where it is not. */
function showFreeze(frozen) {
  const banner = $("banner-frozen");
  show(banner, Boolean(frozen));
  if (!frozen) return;
  const since = `Frozen by ${frozen.by} since ${time(frozen.since)}${frozen.reason ? `: ${frozen.reason}` : ""}`,
    until = frozen.until ? ` until ${time(frozen.until)}` : "";
  say(banner, `${since}. No run of this store sends anything new${until}.`);
}

/** A run that is followed live. */
class LiveRun {
  constructor(runId, session, link) {
    Object.assign(this, {runId, session, link, path: `/api/runs/${encodeURIComponent(runId)}`, closed: false});
  }

  async open() {
    const fleet = new Fleet(await ask(`${this.path}/fleet`));
    if (this.closed) return;
    this.page = new RunPage(this.runId, fleet, (i) => ask(`${this.path}/servers/${i}`));
    this.steering = new Steering(this);
    this.stream = new Stream(
      `${this.path}/events`,
      {
        snapshot: (data) => this.#snapshot(data),
        changes: (data) => this.#changes(data),
        notice,
      },
      (state, why) => this.#state(state, why),
    );
  }

  #snapshot(data) {
    const began = data.progress.began_at;
    // The id is another run's by now, whose servers are others.
    if (this.began && began && began !== this.began) return location.reload();
    this.began = began;
    this.page.model.snapshot(data);
    this.page.map.whole = true;
    this.#after();
  }

  #changes(data) {
    this.page.map.mark(this.page.model.change(data));
    if (data.progress) this.#after();
  }

  #after() {
    const {model} = this.page,
      progress = model.progress;
    this.steering.draw();
    showFreeze(progress.frozen);
    const over = OVER.has(progress.status);
    show($("banner-end"), over);
    $("banner-end").dataset.tone = progress.status;
    if (over)
      say($("banner-end"), `This run has ended: ${progress.status}${progress.message ? `. ${progress.message}` : "."}`);
  }

  #state(state, why) {
    const {model} = this.page;
    model.lost = state !== "on";
    this.link.set(state, model.progress && model.progress.at, why);
  }

  recolour() {
    this.page?.recolour();
  }

  print(on) {
    this.page?.print(on);
  }

  close() {
    this.closed = true;
    this.stream?.close();
    this.steering?.close();
    this.page?.close();
    for (const id of ["banner-frozen", "banner-end", "banner-lost", "banner-notice"]) show($(id), false);
  }
}

/** Pause, resume, promote, adjust, abort: only where the server allows it. */
class Steering {
  constructor(live) {
    this.live = live;
    this.ends = new AbortController();
    const on = (id, event, does) => $(id).addEventListener(event, does, {signal: this.ends.signal});
    say($("steer-said"), "");
    for (const action of ["pause", "resume", "promote"]) on(`steer-${action}`, "click", () => this.#send({action}));
    on("steer-adjust", "click", () => this.#adjust());
    on("steer-abort", "click", () => this.#abort());
    on("adjust-form", "submit", () => this.#adjusted());
    on(
      "abort-form",
      "submit",
      () => $("abort-typed").value === live.runId && this.#send({action: "abort", run: live.runId}),
    );
    on("abort-typed", "input", () => ($("abort-go").disabled = $("abort-typed").value !== live.runId));
    for (const button of document.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => button.closest("dialog").close(), {signal: this.ends.signal});
    }
  }

  get progress() {
    return this.live.page.model.progress;
  }

  draw() {
    const {status, aborting, held_after: held} = this.progress,
      goesOn = this.live.page.model.goesOn;
    show($("steer"), this.live.session.steer && !OVER.has(status));
    $("steer-pause").disabled = status !== "running" || !goesOn || aborting;
    $("steer-resume").disabled = status !== "paused" || !goesOn || aborting;
    $("steer-promote").disabled = !held || !goesOn || aborting;
    $("steer-adjust").disabled = !goesOn || aborting;
    $("steer-abort").disabled = OVER.has(status) || aborting;
  }

  #adjust() {
    const {limits} = this.progress;
    for (const [id, now] of [
      ["adjust-down", limits.max_unavailable],
      ["adjust-failures", limits.max_failures],
    ]) {
      $(id).max = now;
      $(id).value = now;
    }
    $("adjust").showModal();
  }

  #adjusted() {
    const {limits} = this.progress,
      wanted = {};
    const down = $("adjust-down").valueAsNumber,
      failures = $("adjust-failures").valueAsNumber;
    if (down < limits.max_unavailable) wanted.max_unavailable = down;
    if (failures < limits.max_failures) wanted.max_failures = failures;
    if (Object.keys(wanted).length) this.#send({action: "adjust", ...wanted});
    else say($("steer-said"), "Nothing is lower than now: nothing was changed.");
  }

  #abort() {
    say($("abort-id"), this.live.runId);
    $("abort-typed").value = "";
    $("abort-go").disabled = true;
    $("abort").showModal();
  }

  async #send(body) {
    say($("steer-said"), `${capital(body.action)}: asked…`);
    try {
      // Asked for each time: the server may be another one by now.
      const {csrf} = await ask("/api/session");
      const told = await ask(`${this.live.path}/steer`, {
        method: "POST",
        headers: {"Content-Type": "application/json", "X-Ecsbatch-Csrf": csrf},
        body: JSON.stringify(body),
      });
      say($("steer-said"), `${capital(body.action)}: ${told.text}`);
    } catch (error) {
      say($("steer-said"), `${capital(body.action)} was refused: ${error.message}`);
    }
  }

  close() {
    this.ends.abort();
    show($("steer"), false);
  }
}

/** The list of a store's runs. */
class RunsPage {
  constructor(link) {
    this.link = link;
    this.limit = 50;
    this.ends = new AbortController();
  }

  async open() {
    document.title = "Runs · ecsbatch";
    show($("runs"), true);
    $("runs-more").addEventListener(
      "click",
      () => {
        this.limit += 50;
        this.#load();
      },
      {signal: this.ends.signal},
    );
    await this.#load();
    if (this.ends.signal.aborted) return;
    this.stream = new Stream(
      "/api/runs/events",
      {
        runs: (data) => (this.limit > 50 ? this.#load() : this.#draw(data)),
        notice,
      },
      (state, why) => this.link.set(state, this.at, why),
    );
  }

  async #load() {
    this.#draw(await ask(`/api/runs?limit=${this.limit}`));
  }

  #draw({runs, frozen}) {
    this.at = Date.now() / 1000;
    fill(
      $("runs-rows"),
      runs,
      () => this.#row(),
      (row, run) => this.#write(row, run),
    );
    show($("runs-none"), !runs.length);
    show($("runs-more"), runs.length >= this.limit);
    showFreeze(frozen);
  }

  #row() {
    const bar = make("div", {className: "bar small", "aria-hidden": "true"});
    return make(
      "tr",
      {},
      make("th", {scope: "row"}, make("a")),
      make("td", {}, make("span", {className: "standing"})),
      make("td", {}, make("div", {className: "run-bar"}, bar, make("span"))),
      make("td", {className: "n wide"}),
      make("td", {className: "n"}),
      ...[0, 1, 2].map(() => make("td", {className: "wide"})),
    );
  }

  #write(row, run) {
    const [head, standing, ended, servers, failures, holder, since, created] = row.children,
      {counts} = run;
    const failed = FAILURES.reduce((sum, kind) => sum + (counts[KINDS[kind].key] || 0), 0);
    const parts = [counts.restarted || 0, failed, counts.skipped || 0],
      total = Math.max(1, run.total);
    // Runs of single restarts have no page.
    if (run.kind === "rollout") head.firstElementChild.href = `#/${encodeURIComponent(run.run_id)}`;
    else head.firstElementChild.removeAttribute("href");
    say(head.firstElementChild, run.run_id);
    say(standing.firstElementChild, run.standing_text || run.status);
    const how = run.standing || run.status;
    standing.firstElementChild.dataset.tone = how === "succeeded" ? "done" : CALM.has(how) ? "calm" : "urgent";
    fillBar(ended.querySelector(".bar"), parts, total);
    say(ended.firstElementChild.lastElementChild, `${Math.floor((100 * (parts[0] + parts[1] + parts[2])) / total)}%`);
    say(servers, count(run.total));
    say(failures, failed ? count(failed) : "·");
    failures.dataset.failed = failed > 0;
    say(holder, run.held ? [run.holder, run.host].filter(Boolean).join(" on ") : "nobody");
    say(since, run.held ? calendar.format(dateOf(run.since)) : "");
    say(created, calendar.format(dateOf(run.created_at)));
  }

  /** A table takes its colours from the stylesheet, and prints as it is. */
  recolour() {}

  print() {}

  close() {
    this.ends.abort();
    this.stream?.close();
    show($("runs"), false);
    for (const id of ["banner-frozen", "banner-lost", "banner-notice"]) show($(id), false);
  }
}

/** Return the run that the address names, "" for all runs. */
function runNamed() {
  const name = (location.hash.slice(1).split("?")[0] || "/").slice(1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Shows the page that the address names. */
class Live {
  async start() {
    this.link = new Link();
    this.turn = 0;
    window.addEventListener("hashchange", () => this.go());
    await this.go();
  }

  async go() {
    this.page?.close();
    clearTimeout(this.retry);
    const turn = ++this.turn;
    const name = runNamed();
    this.link.set("wait");
    notice({text: ""});
    document.querySelector(".crumb").hidden = !name;
    try {
      this.session ||= await ask("/api/session");
      // Somebody has gone elsewhere meanwhile.
      if (turn !== this.turn) return;
      this.page = name ? new LiveRun(name, this.session, this.link) : new RunsPage(this.link);
      await this.page.open();
    } catch (error) {
      if (turn !== this.turn) return;
      if (error.status === 404) {
        // It may be about to begin: the command prints the address before.
        this.link.set("on");
        notice({text: `There is no run ${name}, or not yet.`});
      } else {
        this.link.set("lost");
        say($("banner-lost"), error.message);
      }
      if (!error.status || error.status >= 500 || error.status === 404) this.retry = setTimeout(() => this.go(), AGAIN);
    }
  }

  recolour() {
    this.page?.recolour();
  }

  print(on) {
    this.page?.print(on);
  }
}

// ---- The report -----------------------------------------------------------------------------------------------------

/** When each server was sent and ended. */
class Times {
  constructor(data) {
    this.origin = data.origin;
    this.submitted = numbersOf(data.submitted, 4, true);
    this.ended = numbersOf(data.ended, 4, true);
    this.attempts = bytesOf(data.attempts);
  }

  took(i) {
    return this.submitted[i] < 0 || this.ended[i] < 0
      ? ""
      : `${((this.ended[i] - this.submitted[i]) / 10).toFixed(1)} s`;
  }

  facts(i) {
    const at = (tenths) => (tenths < 0 ? "" : time(this.origin + tenths / 10));
    return [
      ["Sent", at(this.submitted[i])],
      ["Ended", at(this.ended[i])],
      ["Took", this.took(i)],
      ["Attempts", this.attempts[i] ? count(this.attempts[i]) : ""],
    ];
  }
}

/** A run's record, read from the page itself. */
class Report {
  async start() {
    const packed = bytesOf($("data").textContent.trim());
    const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
    const times = data.times ? new Times(data.times) : null,
      counts = document.querySelector(".summary .counts");
    document.body.classList.add("drawn");
    if (counts) counts.after($("run"));
    this.#verdict(data.audit);
    this.page = new RunPage(data.fleet.run_id, new Fleet(data.fleet), () => Promise.resolve(null), times);
    this.page.model.snapshot(data);
  }

  #verdict(audit) {
    if (!audit || !audit.lines.length) return;
    const banner = $("banner-end");
    banner.dataset.tone = audit.ok ? "succeeded" : "failed";
    say(banner, audit.lines[0]);
    show(banner, true);
  }

  recolour() {
    this.page?.recolour();
  }

  print(on) {
    this.page?.print(on);
  }
}

// ---- Begin ----------------------------------------------------------------------------------------------------------

/** Light or dark: the system's, unless somebody presses the button. */
class Theme {
  constructor(shown) {
    this.shown = shown;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => this.#apply(this.chosen));
    $("theme").addEventListener("click", () => this.#apply(this.now === "dark" ? "light" : "dark"));
    window.addEventListener("beforeprint", () => this.#print());
    window.addEventListener("afterprint", () => this.#printed());
    show($("theme"), true);
    this.#apply("");
  }

  get now() {
    return this.chosen || (this.dark.matches ? "dark" : "light");
  }

  /** Draw by a theme; "" is the system's. */
  #apply(chosen) {
    this.chosen = chosen;
    this.#wear(chosen);
    say($("theme"), this.now === "dark" ? "Light" : "Dark");
  }

  #wear(theme) {
    const {dataset} = document.documentElement;
    if (theme) dataset.theme = theme;
    else delete dataset.theme;
    this.shown.recolour();
  }

  /** Paper is white, whatever the screen is, and nothing is drawn any more once the page is being printed. */
  #print() {
    this.#wear("light");
    this.shown.print(true);
  }

  #printed() {
    this.#wear(this.chosen);
    this.shown.print(false);
  }
}

const shown = document.body.dataset.mode === "report" ? new Report() : new Live();
new Theme(shown);
shown.start();
