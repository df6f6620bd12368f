// What the claim of an experiment comes to at this moment: a number and what it is the number of.

const sum = (values, from = 0, to = values.length) => {
  let total = 0;
  for (let i = from; i < to; i++) total += values[i];
  return total;
};
const charged = (run, kind) => run.species.map((one, s) => ({ ...one, s })).filter((one) => one.kind === kind);

/** The share of all ions of a kind that is in the right half. */
function shareRight(run, kind) {
  let right = 0, all = 0;
  for (const { s } of charged(run, kind)) {
    right += sum(run.c[s], run.n / 2);
    all += sum(run.c[s]);
  }
  return right / all;
}

/** What ions screen by, Σ z² c, on average over the cell. */
function strengthOf(run, c) {
  return run.species.reduce((total, { z }, s) => total + z * z * run.mass(s, c), 0);
}

/** How much the ions of the two modalities change from each cell to the next and back: smooth curves count little. */
function rippleOf(run, c) {
  let total = 0;
  for (const s of [0, 1, 3, 4]) {
    let values = c[s];
    for (let k = 0; k < 3; k++) values = values.slice(2).map((value, i) => value - 2 * values[i + 1] + values[i]);
    for (const value of values) total += value * value;
  }
  return Math.sqrt(total);
}

/** How far the ledger is off, relatively. */
function bookError(run) {
  return Math.max(...run.ledger().rows.map(({ now, start }) => (start ? Math.abs(now - start) / start : 0)));
}

const NOTHING = { value: null, shown: "–" }; // where there is no such number

const MEASURES = {
  dissociated(run) {
    const then = run.mass(2, run.start) + run.mass(5, run.start), now = run.mass(2) + run.mass(5);
    const value = then > 0 ? 1 - now / then : 0;
    return { value, text: `of the salt has gone; the ledger is off by ${say(bookError(run), 1)}`, shown: percent(Math.max(0, value)) };
  },
  parted(run) {
    const value = Math.min(shareRight(run, "cation"), 1 - shareRight(run, "anion"));
    return { value, text: "of all cations, at least, are in the right half, of all anions in the left", shown: percent(value) };
  },
  field(run) {
    const { phi, n } = run.cell, { voltage } = run.settings, middle = n / 2;
    run.cell.solvePotential(run.c, phi);
    const field = (phi[middle - 1] - phi[middle]) / run.cell.h;
    if (!voltage) return { ...NOTHING, text: "no field is applied: set a voltage" };
    const value = field / voltage;
    return { value, text: "of the applied field is left in the middle", shown: percent(value) };
  },
  borrowed(run) {
    const values = run.c[3], mean = run.mass(3);
    const value = (Math.max(...values) - Math.min(...values)) / mean;
    return { value, text: "is how much B’s cations now differ from place to place: at the start, 0", shown: percent(value) };
  },
  twice(run) {
    const drop = (s) => Math.log(run.c[s][run.n - 1] / run.c[s][0]);
    if (!(Math.abs(drop(0)) > 1e-9)) return { ...NOTHING, text: "A’s cations do not differ from wall to wall" };
    const value = drop(3) / drop(0);
    return { value, text: "is B’s change of ln c from wall to wall, against A’s", shown: say(value) };
  },
  missing(run) {
    const first = strengthOf(run, run.start);
    if (!first) return { ...NOTHING, text: "no ion carries charge, so nothing screens" };
    const value = Math.sqrt(first / strengthOf(run, run.c));
    return { value, text: "times its first value is the Debye length now", shown: say(value) };
  },
  growth(run) {
    const text = "times as high becomes the ions’ ripple in a step", before = rippleOf(run, run.c);
    if (run.seeks || run.blown || !(before > 1e-9)) return { ...NOTHING, text };
    const value = Math.sqrt(rippleOf(run, run.ahead(2)) / before);
    return { value, text, shown: say(value) };
  },
  rounds(run) {
    const { picard, anderson } = run.iterations;
    if (!picard) return { ...NOTHING, text: "choose Picard or Anderson to look for rest" };
    const last = (one) => one.residuals[one.residuals.length - 1];
    const value = last(anderson);
    return { value, text: `is Anderson’s residual after ${anderson.residuals.length - 1} rounds; Picard’s is ${say(last(picard), 1)}`, shown: say(value, 1) };
  },
};
