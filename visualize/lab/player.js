// A run that was saved, or the cells of a trained layer, played: nothing is computed here.

const CYCLE = 9; // seconds for a whole run
const SLOWEST = 3; // pictures a second, of short runs
const NOT_MOVING = "Only a motion must let it fall: rounds may raise it.";

/** How the "times" of a run are spoken of, by what they are. */
const CLOCKS = {
  time: { label: "Time", title: "time, L²/D", note: "In a closed cell between fixed potentials it falls, if steps are short enough; walls that change or let something through may feed it.", at: (time) => `t = ${say(time, 4)} L²/D` },
  rounds: { label: "Round", title: "rounds", note: NOT_MOVING, at: (round) => `round ${round}` },
  rest: { label: "State", title: "start and end of the search", note: "In a closed cell rest has the least of all states.", at: (count, answered) => (count === 0 ? "at the start" : answered ? "at rest" : "not at rest") },
};

/** Numbers from their base64. */
function unpack(text, kind) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  return new kind(bytes.buffer);
}

class Player {
  constructor(run, { changed, announce }) {
    this.changed = changed;
    this.announce = announce;
    this.run = run;
    this.times = unpack(run.times, Float64Array);
    this.clock = CLOCKS[run.clock];
    this.edges = unpack(run.edges, Float64Array);
    this.x = unpack(run.x, Float64Array);
    this.widths = this.edges.slice(1).map((edge, i) => edge - this.edges[i]);
    this.ledger = Object.fromEntries(Object.entries(run.ledger).map(([name, text]) => [name, unpack(text, Float64Array)])); // (times, samples, ...)
    this.values = unpack(run.concentrations, Float32Array); // (times, samples, species, cells)
    this.fixed = run.fixed && unpack(run.fixed, Float32Array); // (samples, cells)
    this.potentials = unpack(run.potentials, Float32Array); // (times, samples, cells)
    this.frames = this.times.length;
    this.at = 0;
    this.place = 0; // where the film is, which may lie between two pictures
    this.sample = 0;
    $("origin").textContent = run.title;
    $("when").max = this.frames - 1;
    $("when").labels[0].textContent = this.clock.label;
    $("when").addEventListener("input", () => this.go(Number($("when").value)));
    $("sample").replaceChildren(...run.samples.map((name, k) => element("option", { value: k, textContent: name })));
    $("sample").addEventListener("change", () => {
      this.sample = Number($("sample").value);
      drawLegend(this.species, Boolean(run.fixed));
      this.changed(true);
    });
    drawLegend(this.species, Boolean(run.fixed));
  }

  /** The species with the valences that they have in this sample. */
  get species() {
    return this.run.species.map((one, s) => ({ ...one, z: this.run.valences[this.sample][s] }));
  }

  get done() {
    return this.at >= this.frames - 1;
  }

  go(at) {
    this.at = Math.max(0, Math.min(this.frames - 1, at));
    this.place = this.at;
    this.changed(false);
  }

  reset() {
    this.go(0);
  }

  step(count = 1) {
    this.go(this.at + count);
  }

  forward(elapsed) {
    this.place = Math.min(this.frames - 1, this.place + (elapsed / 1000) * Math.max(SLOWEST, this.frames / CYCLE));
    this.at = Math.floor(this.place + 1e-9);
  }

  scene() {
    const { run, at, sample, x } = this, n = x.length, s = run.species.length, all = run.samples.length;
    const from = (at * all + sample) * s * n;
    return {
      species: this.species, edges: this.edges, widths: this.widths, x,
      c: run.species.map((_, k) => this.values.subarray(from + k * n, from + (k + 1) * n)),
      phi: this.potentials.subarray((at * all + sample) * n, (at * all + sample + 1) * n),
      fixed: this.fixed && this.fixed.subarray(sample * n, (sample + 1) * n), reservoirs: run.reservoirs, walls: run.walls[sample].map((volt) => (Array.isArray(volt) ? volt[at] : volt)),
    };
  }

  tell() {
    const words = `${this.clock.at(this.times[this.at], this.run.answered[this.sample])}, ${this.at + 1} of ${this.frames}`;
    $("clock").textContent = words;
    $("when").value = this.at;
    $("when").setAttribute("aria-valuetext", words);
  }

  /** What the ledger says of this sample at a time; of species s, for masses. */
  told(name, at, s = 0, of = 1) {
    return this.ledger[name][(at * this.run.samples.length + this.sample) * of + s];
  }

  books() {
    const { run, at } = this, all = run.species.length;
    let lowest = Infinity;
    for (let k = 0; k <= at; k++) lowest = Math.min(lowest, this.told("smallest", k));
    return {
      rows: run.species.map(({ name }, s) => ({ name: `mass of ${name}`, start: this.told("mass", 0, s, all), now: this.told("mass", at, s, all), free: !run.closed[s] })),
      charge: this.told("charge", at), energy: this.told("energy", at), energyStart: this.told("energy", 0), lowest, note: run.note, open: true,
    };
  }

  energies() {
    const path = [...this.times].map((time, k) => ({ at: time, total: this.told("energy", k) }));
    const xTicks = this.run.clock === "rest" ? [] : undefined; // they count evaluations
    return { path, xTitle: this.clock.title, xTicks, now: this.times[this.at], note: this.clock.note };
  }

  iterations() {
    return {};
  }

  summary() {
    return `${this.run.samples[this.sample]}, ${$("clock").textContent}.`;
  }

  state() {
    const { c, phi, x, walls } = this.scene();
    return {
      at: this.at, frames: this.frames, time: this.times[this.at], sample: this.sample, x: [...x],
      c: c.map((one) => [...one]), phi: [...phi], walls, species: this.species, done: this.done,
      books: this.books(),
    };
  }
}
