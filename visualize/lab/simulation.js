// One experiment: a cell, its state, the solver that moves it, and the books that are kept.

const MOST_POINTS = 400; // of a curve over time
const BEYOND = 1e6; // a concentration at which an explicit run is given up

class Simulation {
  constructor(settings) {
    this.settings = settings;
    this.cell = new Cell(settings);
    this.species = this.cell.species;
    this.time = 0;
    this.steps = 0;
    this.blown = false;
    this.seeks = settings.solver === "picard" || settings.solver === "anderson";
    const start = startOf(settings);
    this.n = settings.cells;
    this.u = new Float64Array(6 * this.n);
    start.forEach((one, s) => this.u.set(one, s * this.n));
    this.start = this.views(this.u.slice());
    this.c = this.views(this.u);
    this.scratch = new Float64Array(this.u.length);
    this.lowest = Math.min(...this.u);
    this.iterations = {};
    if (this.seeks) {
      for (const [name, memory] of [["picard", 0], ["anderson", MEMORY]]) {
        this.iterations[name] = new FixedPoint(this.u, memory);
      }
      for (const one of Object.values(this.iterations)) one.advance(this.residual(one.u), false);
    }
    this.path = [];
    this.record();
    this.books = this.ledger();
  }

  /** Goes on from the present state under other settings; energy, which that changes, is counted from there. */
  turn(settings) {
    this.settings = copyOf(settings);
    this.cell = new Cell(this.settings);
    this.species = this.cell.species;
    this.turned = true;
    this.limit = this.cell.longestExplicitStep(this.c);
    this.record();
    this.books.energyStart = this.least = this.path[this.path.length - 1].total;
  }

  views(u) {
    return Array.from({ length: 6 }, (_, s) => u.subarray(s * this.n, (s + 1) * this.n));
  }

  get done() {
    return this.blown || (this.seeks && this.iterations[this.settings.solver].done);
  }

  /** How it ended, in words; nothing while it goes on. */
  get ending() {
    if (this.blown) return "blown up";
    if (!this.done) return "";
    const { converged, failed } = this.iterations[this.settings.solver];
    if (converged) return this.deceived ? "the map stands still" : "at rest";
    return failed ? "failed" : "given up";
  }

  /** How many times too long an explicit step is. */
  get excess() {
    return this.settings.step / this.limit;
  }

  /** g(u) - u, with g one semi-implicit step. */
  residual(u) {
    this.scratch.set(u);
    this.cell.implicitStep(this.views(this.scratch), this.settings.step);
    return this.scratch.map((value, i) => value - u[i]);
  }

  /** Takes up to so many steps, or for so many milliseconds; says how many it took. */
  advance(count, milliseconds = Infinity) {
    const end = performance.now() + milliseconds;
    let taken = 0;
    while (taken < count && !this.done && (taken === 0 || performance.now() < end)) {
      this.stepOnce();
      taken += 1;
    }
    if (taken) this.record();
    return taken;
  }

  stepOnce() {
    const { solver, step } = this.settings;
    if (this.seeks) {
      for (const one of Object.values(this.iterations)) this.round(one);
      this.u.set(this.iterations[solver].u);
    } else {
      if (solver === "explicit") this.cell.explicitStep(this.c, step);
      else this.cell.implicitStep(this.c, step);
      this.time += step;
    }
    this.steps += 1;
    for (const value of this.u) {
      if (value < this.lowest) this.lowest = value;
      if (!(Math.abs(value) < BEYOND)) this.blown = true;
    }
  }

  /** Whether the map stands still where the cell would not: long steps may undo motion by reaction. */
  get deceived() {
    return this.seeks && this.iterations[this.settings.solver].converged && this.cell.rate(this.c).some((slopes) => slopes.some((slope) => Math.abs(slope) > 1));
  }

  /** The concentrations so many steps from here, which is not left. */
  ahead(count) {
    const c = this.views(this.u.slice()), { solver, step } = this.settings;
    for (let k = 0; k < count; k++) {
      if (solver === "explicit") this.cell.explicitStep(c, step);
      else this.cell.implicitStep(c, step);
    }
    this.cell.solvePotential(this.c, this.cell.phi);
    return c;
  }

  /** Moves an iteration on, and asks for the residual where it comes to. */
  round(one) {
    if (one.done) return;
    const f = one.f ?? this.residual(one.u);
    one.residuals.pop(); // it was noted when it was found
    one.advance(f, true);
    if (one.done) return;
    one.f = this.residual(one.u);
    one.advance(one.f, false);
  }

  /** A point of the curves over time. */
  record() {
    if (this.lowest >= 0) this.limit = this.cell.longestExplicitStep(this.c);
    const energy = this.cell.energies(this.c);
    this.least = Math.min(this.least ?? Infinity, energy.total);
    this.path.push({ at: this.seeks ? this.steps : this.time, ...energy });
    if (this.path.length > MOST_POINTS) this.path = this.path.filter((_, i) => i % 2 === 0 || i === this.path.length - 1);
  }

  mass(s, c = this.c) {
    return c[s].reduce((sum, value) => sum + value, 0) / this.n;
  }

  /** What must stay: of each modality all that is, or was, one kind of ion; and the net charge. */
  ledger() {
    const rows = [];
    for (const [m, modality] of ["A", "B"].entries()) {
      for (const [k, kind] of ["cation", "anion"].entries()) {
        const now = this.mass(3 * m + k) + this.mass(3 * m + 2);
        rows.push({ name: `${modality}: ${kind}s + salt`, now });
      }
    }
    const charge = this.species.reduce((sum, { z }, s) => sum + z * this.mass(s), 0);
    const rowsThen = this.books?.rows;
    rows.forEach((row, i) => (row.start = rowsThen ? rowsThen[i].start : row.now));
    const { total: energy } = this.path[this.path.length - 1];
    return {
      rows, charge, energy, energyStart: this.books?.energyStart ?? this.path[0].total, lowest: this.lowest,
      rises: !(energy <= this.least + 1e-9 * Math.max(1, Math.abs(energy))), turned: Boolean(this.turned),
    };
  }
}
