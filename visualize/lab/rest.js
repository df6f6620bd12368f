// Rest as a fixed point: u = g(u), with g one semi-implicit step. Picard's and Anderson's iterations
// as pnpfusion's `Picard` and `Anderson` make them, round by round, for f(u) = g(u) - u.

const TOLERANCE = 1e-9; // of the residual |f| against |g(u)|, root mean squares
const FLOOR = 1e-3; // a smaller state counts as this
const GROWTH = 100; // a residual this many times the best one sends Anderson back there
const RIDGE = 1e-10;
const MEMORY = 5;
const MOST_ROUNDS = 5000; // of an iteration that comes nowhere

const dot = (a, b) => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
};

/** An iteration towards rest from u0, a vector of all concentrations. */
class FixedPoint {
  constructor(u0, memory) {
    this.u = u0.slice();
    this.memory = memory; // 0 is Picard
    this.damping = 1;
    this.residuals = [];
    this.best = { size: Infinity, u: u0.slice(), f: new Float64Array(u0.length) };
    this.converged = false;
    this.failed = false;
    this.pairs = -1;
    this.changes = [];
    this.mixes = [];
    this.gram = Array.from({ length: memory }, () => new Float64Array(memory));
  }

  get done() {
    return this.converged || this.failed || this.rounds >= MOST_ROUNDS;
  }

  get rounds() {
    return this.residuals.length - 1;
  }

  /** Notes the residual f at u; then, unless it is small enough, moves u on. */
  advance(f, move) {
    const lost = this.judge(f);
    if (this.done || !move) return;
    let u = this.u;
    if (lost && this.memory) {
      u = this.best.u.slice();
      f = this.best.f.slice();
      this.pairs = -1;
      this.damping /= 2;
    }
    const next = u.map((value, i) => value + this.damping * f[i]);
    if (this.memory) this.mix(u, f, next);
    this.u = next;
    if (!Number.isFinite(dot(next, next))) this.failed = true;
  }

  judge(f) {
    const { u, best } = this;
    let ofF = 0, ofSum = 0;
    for (let i = 0; i < u.length; i++) {
      const both = u[i] + f[i];
      ofF += f[i] * f[i];
      ofSum += both * both;
    }
    const rate = Math.sqrt(ofF / u.length), scale = Math.sqrt(ofSum / u.length);
    const size = rate / (scale + FLOOR);
    this.residuals.push(rate / Math.max(scale, 1e-37));
    const lost = !(size <= GROWTH * best.size);
    if (size < best.size) this.best = { size, u: u.slice(), f: f.slice() };
    this.converged = size <= TOLERANCE;
    if (!Number.isFinite(this.best.size)) this.failed = true;
    return lost;
  }

  /** Takes off what the last changes say would not become rest. */
  mix(u, f, next) {
    if (this.pairs >= 0) this.addChange(u, f);
    else this.pairs = 0;
    this.lastU = u.slice();
    this.lastF = f.slice();
    const used = Math.min(this.pairs, this.memory);
    if (!used) return;
    const load = this.changes.slice(0, used).map((change) => dot(change, f));
    const weights = leastSquares(this.gram, load, used);
    if (!weights) return;
    weights.forEach((weight, j) => {
      const mix = this.mixes[j];
      for (let i = 0; i < next.length; i++) next[i] -= weight * mix[i];
    });
  }

  addChange(u, f) {
    const slot = this.pairs % this.memory;
    const change = f.map((value, i) => value - this.lastF[i]);
    this.changes[slot] = change;
    this.mixes[slot] = change.map((value, i) => u[i] - this.lastU[i] + this.damping * value);
    this.pairs += 1;
    for (let j = 0; j < Math.min(this.pairs, this.memory); j++) {
      this.gram[slot][j] = this.gram[j][slot] = dot(change, this.changes[j]);
    }
  }
}

/** Weights of the changes by Cholesky's factors, changes scaled to length 1 and a ridge added; or null. */
function leastSquares(gram, load, used) {
  const factor = Array.from({ length: used }, () => new Float64Array(used));
  const length = Array.from({ length: used }, (_, i) => (gram[i][i] > 0 ? Math.sqrt(gram[i][i]) : 1));
  const weights = new Array(used).fill(0);
  for (let i = 0; i < used; i++) {
    for (let j = 0; j <= i; j++) {
      let value = gram[i][j] / (length[i] * length[j]) + (i === j ? RIDGE : 0);
      for (let k = 0; k < j; k++) value -= factor[i][k] * factor[j][k];
      if (i > j) factor[i][j] = value / factor[j][j];
      else if (value > 0) factor[i][i] = Math.sqrt(value);
      else return null;
    }
    let value = load[i] / length[i];
    for (let k = 0; k < i; k++) value -= factor[i][k] * weights[k];
    weights[i] = value / factor[i][i];
  }
  for (let i = used - 1; i >= 0; i--) {
    for (let k = i + 1; k < used; k++) weights[i] -= factor[k][i] * weights[k];
    weights[i] /= factor[i][i];
  }
  for (let i = 0; i < used; i++) weights[i] /= length[i];
  return weights.every(Number.isFinite) ? weights : null;
}
