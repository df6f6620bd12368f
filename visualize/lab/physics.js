// Poisson–Nernst–Planck in one dimension, between two electrodes that hold the potential and block ions.
//
//   dc_i/dt = -dJ_i/dx + R_i,   J_i = -D_i (dc_i/dx + z_i c_i dphi/dx),   -eps phi'' = sum z_i c_i
//
// Finite volumes with Scharfetter–Gummel fluxes; lengths in L, times in L²/D, potentials in kT/e.
// The same schemes, line by line, as pnpfusion's `Electrolyte` and `asymptotic_preserving_step`.

const BACKGROUND = 0.5; // of each ion at the start, so that the Debye length is that of two 1:1 salts
const SALT_DIFFUSIVITY = 0.1; // neutral molecules are large and slow
const FEATURE_UNIT = 0.25; // concentration of salt for each point of a feature

/** The species of a cell, three for each modality, as pnpfusion names them. */
function speciesOf(settings) {
  const species = [];
  for (const modality of ["A", "B"]) {
    const z = settings["valence" + modality];
    species.push(
      { name: `${modality} cation`, modality, kind: "cation", z, d: 1 },
      { name: `${modality} anion`, modality, kind: "anion", z: -z, d: settings.ratio },
      { name: `${modality} salt`, modality, kind: "salt", z: 0, d: SALT_DIFFUSIVITY },
    );
  }
  return species;
}

/** What the cell begins with: features as salt in blocks, ions at rest; no salt of what is missing. */
function startOf(settings) {
  const n = settings.cells;
  const c = [];
  for (const modality of ["A", "B"]) {
    const features = settings["features" + modality];
    const salt = new Float64Array(n);
    if (settings.missing !== modality) {
      for (let i = 0; i < n; i++) salt[i] = FEATURE_UNIT * features[Math.floor((i * features.length) / n)];
    }
    c.push(new Float64Array(n).fill(BACKGROUND), new Float64Array(n).fill(BACKGROUND), salt);
  }
  return c;
}

class Cell {
  constructor(settings) {
    const n = settings.cells;
    this.n = n;
    this.h = 1 / n;
    this.permittivity = 2 * settings.debye ** 2;
    this.left = settings.voltage / 2;
    this.right = -settings.voltage / 2;
    this.species = speciesOf(settings);
    this.forward = settings.dissociation;
    this.backward = settings.recombination;
    this.reacts = this.forward > 0 || this.backward > 0;
    this.valences = [...new Set(this.species.map((s) => Math.abs(s.z)))].filter((z) => z > 0);

    const faces = () => new Float64Array(n + 1);
    const cells = () => new Float64Array(n);
    this.ahead = new Map(this.valences.map((z) => [z, faces()])); // B(z rise)
    this.back = new Map(this.valences.map((z) => [z, faces()])); // B(-z rise)
    this.slope = new Map(this.valences.map((z) => [z, faces()])); // B'(z rise)
    this.one = faces().fill(1);
    this.conductance = faces().fill(this.permittivity / this.h);
    this.conductance[0] = this.conductance[n] = (2 * this.permittivity) / this.h;
    this.flux = faces();
    this.total = faces();
    this.stiff = faces();
    [this.lower, this.diagonal, this.upper, this.load, this.work] = Array.from({ length: 5 }, cells);
    [this.phi, this.change, this.fresh, this.alone] = Array.from({ length: 4 }, cells);
    this.slopes = this.species.map(cells);
    this.solvePotential(null, this.alone);
  }

  /** The potential of concentrations c (null: of the electrodes alone), into phi. */
  solvePotential(c, phi) {
    const { n, h, conductance: g, load } = this;
    load.fill(0);
    if (c) {
      this.species.forEach(({ z }, s) => {
        if (z !== 0) for (let i = 0; i < n; i++) load[i] += z * c[s][i];
      });
    }
    for (let i = 0; i < n; i++) load[i] *= h;
    load[0] += g[0] * this.left;
    load[n - 1] += g[n] * this.right;
    this.solveFlow(g, phi);
  }

  /** The x that flows apart as `load` says through conductances g, zero behind the electrodes. */
  solveFlow(g, x) {
    const { n, lower, diagonal, upper } = this;
    for (let i = 0; i < n; i++) {
      lower[i] = -g[i];
      upper[i] = -g[i + 1];
      diagonal[i] = g[i] + g[i + 1];
    }
    solveTridiagonal(lower, diagonal, upper, this.load, x, this.work);
  }

  /** How faces weigh their two cells in the potential phi. */
  weigh(phi, withSlopes) {
    const { n } = this;
    for (const z of this.valences) {
      const ahead = this.ahead.get(z), back = this.back.get(z), slope = this.slope.get(z);
      for (let i = 1; i < n; i++) { // faces 0 and n are electrodes, which nothing passes
        const u = z * (phi[i] - phi[i - 1]);
        const size = Math.abs(u);
        const less = bernoulli(size);
        ahead[i] = u >= 0 ? less : less + size;
        back[i] = u >= 0 ? less + size : less;
        if (withSlopes) {
          const s = bernoulliSlope(size, less);
          slope[i] = u >= 0 ? s : -1 - s;
        }
      }
    }
  }

  weights(z) {
    if (z === 0) return [this.one, this.one];
    const pair = [this.ahead.get(Math.abs(z)), this.back.get(Math.abs(z))];
    return z > 0 ? pair : pair.reverse();
  }

  /** J of species s through every face, into this.flux; `weigh` comes first. */
  findFlux(c, s) {
    const { n, flux } = this;
    const { z, d } = this.species[s];
    const [a, b] = this.weights(z), pass = d / this.h;
    flux[0] = flux[n] = 0;
    for (let i = 1; i < n; i++) flux[i] = pass * (a[i] * c[i - 1] - b[i] * c[i]);
  }

  /** dc/dt, the potential following the charge at once. */
  rate(c) {
    const { n, h, flux } = this;
    this.solvePotential(c, this.phi);
    this.weigh(this.phi, false);
    this.species.forEach((_, s) => {
      this.findFlux(c[s], s);
      for (let i = 0; i < n; i++) this.slopes[s][i] = -(flux[i + 1] - flux[i]) / h;
    });
    for (let m = 0; this.reacts && m < 6; m += 3) {
      const [cation, anion, salt] = this.slopes.slice(m, m + 3);
      for (let i = 0; i < n; i++) {
        const r = this.forward * c[m + 2][i] - this.backward * c[m][i] * c[m + 1][i];
        cation[i] += r;
        anion[i] += r;
        salt[i] -= r;
      }
    }
    return this.slopes;
  }

  /** One step of forward Euler, in place. */
  explicitStep(c, dt) {
    const slopes = this.rate(c);
    c.forEach((one, s) => {
      for (let i = 0; i < this.n; i++) one[i] += dt * slopes[s][i];
    });
  }

  /** The longest explicit step that is stable, about: 2 over the fastest rate of decay. */
  longestExplicitStep(c) {
    let strength = 0;
    for (let i = 0; i < this.n; i++) {
      let sum = 0;
      this.species.forEach(({ z }, s) => (sum += z * z * c[s][i]));
      strength = Math.max(strength, sum);
    }
    const fastest = Math.max(...this.species.map(({ d }) => d));
    return 2 / ((4 * fastest) / this.h ** 2 + (fastest * strength) / this.permittivity);
  }

  /** One semi-implicit step, in place: positive and conservative for any dt. */
  implicitStep(c, dt) {
    const { n, phi, change } = this;
    this.solvePotential(c, phi);
    this.predictChange(c, dt);
    for (let i = 0; i < n; i++) phi[i] += change[i];
    this.weigh(phi, false);
    this.species.forEach((_, s) => this.moveImplicitly(c[s], s, dt));
    if (this.reacts) for (let m = 0; m < 6; m += 3) this.react(c[m], c[m + 1], c[m + 2], dt);
  }

  /** How the potential will change as the charge follows the field that it makes, into this.change. */
  predictChange(c, dt) {
    const { n, flux, total, stiff } = this;
    this.weigh(this.phi, true);
    stiff.set(this.conductance);
    total.fill(0);
    this.species.forEach(({ z, d }, s) => {
      if (z === 0) return;
      this.findFlux(c[s], s);
      const slope = this.slope.get(Math.abs(z)), pass = d / this.h;
      for (let i = 1; i < n; i++) {
        const by = z > 0 ? slope[i] : -1 - slope[i];
        stiff[i] -= dt * z * z * pass * (by * c[s][i - 1] - (by + 1) * c[s][i]);
        total[i] += dt * z * flux[i];
      }
    });
    for (let i = 0; i < n; i++) this.load[i] = -(total[i + 1] - total[i]);
    this.solveFlow(stiff, this.change);
  }

  /** One backward Euler step of species s in the field as it is; its mass stays to round-off. */
  moveImplicitly(c, s, dt) {
    const { n, h, lower, diagonal, upper, load, fresh } = this;
    const { z, d } = this.species[s];
    const [a, b] = this.weights(z), pass = (dt * d) / h;
    let before = 0;
    for (let i = 0; i < n; i++) {
      const out = i < n - 1 ? pass * a[i + 1] : 0, into = i > 0 ? pass * b[i] : 0;
      lower[i] = i > 0 ? -pass * a[i] : 0;
      upper[i] = i < n - 1 ? -pass * b[i + 1] : 0;
      diagonal[i] = h + out + into;
      load[i] = h * c[i];
      before += load[i];
    }
    solveTridiagonal(lower, diagonal, upper, load, fresh, this.work);
    let after = 0;
    for (let i = 0; i < n; i++) after += h * fresh[i];
    const kept = after > 0 ? before / after : 1;
    for (let i = 0; i < n; i++) c[i] = fresh[i] * kept;
  }

  /** One implicit step of salt <=> cation + anion in each place: positive for any dt. */
  react(cation, anion, salt, dt) {
    const p = dt * this.forward, q = dt * this.backward;
    for (let i = 0; i < this.n; i++) {
      const extent = extentOf(cation[i], anion[i], salt[i], p, q);
      cation[i] += extent;
      anion[i] += extent;
      salt[i] -= extent;
    }
  }

  /** Mixing and reactions, and what is due to charge; NaN where a concentration is negative. */
  energies(c) {
    const { n, h, phi } = this;
    this.solvePotential(c, phi);
    const both = this.forward > 0 && this.backward > 0;
    const drive = both ? Math.log(this.forward / this.backward) / 3 : 0; // standard potentials
    let mixing = 0, electric = 0;
    for (let i = 0; i < n; i++) {
      let charge = 0;
      this.species.forEach(({ z, kind }, s) => {
        const value = c[s][i];
        mixing += (value === 0 ? 0 : value * Math.log(value)) - value;
        mixing += (kind === "salt" ? drive : -drive) * value;
        charge += z * value;
      });
      electric += (charge * (phi[i] + this.alone[i])) / 2;
    }
    return { mixing: h * mixing, electric: h * electric, total: h * (mixing + electric) };
  }
}

/** The xi with xi = p (salt - xi) - q (cation + xi)(anion + xi); p and q are rates times the step. */
function extentOf(cation, anion, salt, p, q) {
  if (cation >= 0 && anion >= 0 && salt >= 0) {
    const rise = 1 + p + q * (cation + anion), start = p * salt - q * cation * anion;
    return (2 * start) / (rise + Math.sqrt(rise * rise + 4 * q * start));
  }
  let low = -(1 - 8 * Number.EPSILON) * Math.min(cation, anion), high = (1 - 8 * Number.EPSILON) * salt;
  for (let k = 0; k < 80; k++) { // beyond zero, where an accelerated iterate may be, as pnpfusion does it
    const xi = (low + high) / 2;
    if (xi - (p * (salt - xi) - q * (cation + xi) * (anion + xi)) > 0) high = xi;
    else low = xi;
  }
  return (low + high) / 2;
}
