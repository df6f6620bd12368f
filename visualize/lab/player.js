// A run that was saved, or the cells of a trained layer, played: nothing is computed here.

const CYCLE = 9; // seconds for a whole run

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
    this.edges = unpack(run.edges, Float64Array);
    this.widths = this.edges.slice(1).map((edge, i) => edge - this.edges[i]);
    this.x = this.widths.map((width, i) => this.edges[i] + width / 2);
    this.values = unpack(run.concentrations, Float32Array); // (times, samples, species, cells)
    this.potentials = unpack(run.potentials, Float32Array); // (times, samples, cells)
    this.frames = this.times.length;
    this.at = 0;
    this.place = 0; // where the film is, which may lie between two pictures
    this.sample = 0;
    $("origin").textContent = run.title;
    $("when").max = this.frames - 1;
    $("when").addEventListener("input", () => this.go(Number($("when").value)));
    $("sample").replaceChildren(...run.samples.map((name, k) => element("option", { value: k, textContent: name })));
    $("sample").addEventListener("change", () => {
      this.sample = Number($("sample").value);
      this.changed(true);
    });
    drawLegend(run.species);
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

  forward() {
    this.place = Math.min(this.frames - 1, this.place + Math.max(0.05, this.frames / (CYCLE * 60)));
    this.at = Math.floor(this.place + 1e-9);
  }

  scene() {
    const { run, at, sample, x } = this, n = x.length, s = run.species.length, all = run.samples.length;
    const from = (at * all + sample) * s * n;
    return {
      species: run.species, edges: this.edges, widths: this.widths, x,
      c: run.species.map((_, k) => this.values.subarray(from + k * n, from + (k + 1) * n)),
      phi: this.potentials.subarray((at * all + sample) * n, (at * all + sample + 1) * n),
      walls: run.walls && run.walls[sample],
    };
  }

  tell() {
    const words = `t = ${say(this.times[this.at], 4)} L²/D, ${this.at + 1} of ${this.frames}`;
    $("clock").textContent = words;
    $("when").value = this.at;
    $("when").setAttribute("aria-valuetext", words);
  }

  row(name) {
    return this.run.ledger[name][this.sample];
  }

  books() {
    const { run, at } = this, mass = this.row("mass");
    return {
      rows: run.species.map(({ name }, s) => ({ name: `mass of ${name}`, start: mass[0][s], now: mass[at][s], free: !run.closed[s] })),
      charge: this.row("charge")[at], energy: this.row("energy")[at], energyStart: this.row("energy")[0],
      lowest: this.row("smallest").slice(0, at + 1).reduce((a, b) => Math.min(a, b)), note: run.note,
    };
  }

  energies() {
    const path = [...this.times].map((time, k) => ({ at: time, total: this.row("energy")[k] }));
    return { path, xTitle: "time, L²/D", now: this.times[this.at], note: ENERGY_NOTE };
  }

  iterations() {
    return {};
  }

  python() {
    return this.run.python;
  }

  summary() {
    return `${this.run.samples[this.sample]}, ${$("clock").textContent}.`;
  }

  state() {
    const { c, phi, x } = this.scene();
    return {
      at: this.at, frames: this.frames, time: this.times[this.at], sample: this.sample, x: [...x],
      c: c.map((one) => [...one]), phi: [...phi], species: this.run.species.map(({ name }) => name), done: this.done,
      books: this.books(),
    };
  }
}

const ENERGY_NOTE = "In a closed cell it only falls; walls that let something through may feed it.";
