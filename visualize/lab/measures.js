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

/** How far the ledger is off, relatively. */
function bookError(run) {
  return Math.max(...run.ledger().rows.map(({ now, start }) => (start ? Math.abs(now - start) / start : 0)));
}

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
    const value = voltage ? field / voltage : 0;
    return { value, text: "of the applied field is left in the middle", shown: percent(Math.max(0, value)) };
  },
  borrowed(run) {
    const values = run.c[3], mean = run.mass(3);
    const value = (Math.max(...values) - Math.min(...values)) / mean;
    return { value, text: "is how much B’s cations now differ from place to place: at the start, 0", shown: percent(value) };
  },
  twice(run) {
    const drop = (s) => Math.log(run.c[s][run.n - 1] / run.c[s][0]);
    const value = drop(0) ? drop(3) / drop(0) : 1;
    return { value, text: "is B’s change of ln c from wall to wall, against A’s", shown: say(value) };
  },
  missing(run) {
    const { permittivity } = run.cell;
    const strength = run.species.reduce((total, { z }, s) => total + z * z * run.mass(s), 0);
    const value = Math.sqrt(permittivity / strength) / run.settings.debye;
    return { value, text: "times its first value is the Debye length now", shown: say(value) };
  },
  growth(run) {
    const value = Math.abs(1 - 2 * run.excess);
    return { value, text: "times as high is the shortest ripple after each step", shown: say(value) };
  },
  rounds(run) {
    const { picard, anderson } = run.iterations;
    if (!picard) return { value: 0, text: "choose Picard or Anderson to look for rest", shown: "–" };
    const last = (one) => one.residuals[one.residuals.length - 1];
    const value = last(anderson);
    return { value, text: `is Anderson’s residual after ${anderson.residuals.length - 1} rounds; Picard’s is ${say(last(picard), 1)}`, shown: say(value, 1) };
  },
};
