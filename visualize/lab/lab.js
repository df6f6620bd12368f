// The lab: an experiment that is computed here, with everything that can be set.

class Lab {
  constructor(presets, { changed, announce }) {
    this.presets = presets;
    this.changed = changed;
    this.announce = announce;
    this.controls = new Controls((key, value) => this.set(key, value));
    $("presets").replaceChildren(
      ...presets.map(({ name, title }, k) => {
        const button = element("button", { id: `preset-${name}`, title: `Key ${k + 1}` });
        button.append(element("span", { className: "number", textContent: k + 1 }), title);
        button.addEventListener("click", () => this.choose(name));
        return button;
      }),
    );
    $("last").textContent = presets.length;
    window.addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  /** Takes the settings that the address says. */
  follow() {
    if (this.preset && location.hash === hashOf(this.settings, this.preset)) return;
    const { preset, settings } = readHash(location.hash, this.presets);
    this.begin(preset, settings);
    if (preset.tab) $(`tab-${preset.tab}`)?.click();
  }

  choose(name) {
    const preset = this.presets.find((one) => one.name === name);
    this.begin(preset, copyOf(preset.settings));
    $(`tab-${preset.tab}`).click();
    this.announce(`${preset.title}. ${preset.claim}`);
  }

  begin(preset, settings) {
    this.preset = preset;
    this.settings = settings;
    $("claim").textContent = preset.claim;
    for (const { name } of this.presets) $(`preset-${name}`).setAttribute("aria-pressed", name === preset.name);
    this.reset();
  }

  /** Changes one setting: a run in time goes on under it where it can, else all begins anew. */
  set(key, value) {
    this.settings[key] = value;
    const live = ["voltage", "dissociation", "recombination", "ratio", "debye", "valenceA", "valenceB", "step"];
    if (key === "speed") this.refresh();
    else if (live.includes(key) && !this.run.seeks && !this.run.blown && this.run.steps) this.turn();
    else this.reset();
  }

  /** Goes on from the present state under the new settings. */
  turn() {
    this.run.turn(this.settings);
    this.refresh();
  }

  reset() {
    this.run = new Simulation(copyOf(this.settings));
    drawLegend(this.run.species);
    this.refresh();
    this.changed(true);
  }

  refresh() {
    this.run.settings.speed = this.settings.speed;
    this.controls.show(this.settings);
    const hash = hashOf(this.settings, this.preset);
    if (location.hash !== hash) history.replaceState(null, "", hash);
    this.changed(false);
  }

  get done() {
    return this.run.done;
  }

  get solver() {
    return this.settings.solver;
  }

  /** One picture's worth of steps. */
  forward(budget) {
    this.run.advance(this.settings.speed, budget);
  }

  step(count = 1) {
    this.run.advance(count);
  }

  scene() {
    const { run } = this, { n, cell } = run;
    cell.solvePotential(run.c, cell.phi);
    const edges = Float64Array.from({ length: n + 1 }, (_, i) => i / n);
    return {
      species: run.species, c: run.c, start: run.start, phi: cell.phi, edges, blown: run.blown,
      x: Float64Array.from({ length: n }, (_, i) => (i + 0.5) / n),
      widths: new Float64Array(n).fill(1 / n), walls: [cell.left, cell.right],
    };
  }

  /** The words and numbers beside the pictures. */
  tell() {
    const { run } = this;
    const { shown, text } = MEASURES[this.preset.measure](run);
    $("measure").innerHTML = `<b>${shown}</b> ${text}`;
    const where = run.seeks ? `round ${run.steps}` : `t = ${say(run.time, 4)} L²/D, step ${run.steps}`;
    $("clock").textContent = run.seeks && run.done ? `${where}: at rest` : where;
    this.alarm();
  }

  alarm() {
    const { run } = this, alarm = $("alarm"), { excess } = run;
    const explicit = this.settings.solver === "explicit";
    alarm.hidden = !(explicit && (excess > 1 || run.blown));
    if (alarm.hidden) return;
    const growth = say(Math.abs(1 - 2 * excess), 3);
    const why = run.blown
      ? `It has blown up after ${run.steps} steps.`
      : run.ledger().lowest < 0 ? "It is blowing up." : "It will blow up.";
    const words = `<b>Δt / Δt<sub>max</sub> = ${say(excess, 3)}</b> ${why} Each step overshoots: it turns the shortest ripple over and makes it ${growth} times as high. Stable up to Δt<sub>max</sub> = 2 / (4D/h² + D Σz²c/ε) = ${say(run.limit, 2)}; implicit steps have no such limit.`;
    if (alarm.innerHTML !== words) alarm.innerHTML = words;
  }

  books() {
    const both = this.settings.dissociation > 0 && this.settings.recombination > 0;
    const none = this.settings.dissociation === 0 && this.settings.recombination === 0;
    const note = both || none // then detailed balance holds
      ? "Atoms are neither made nor lost; in a closed cell the free energy only falls."
      : "Atoms are neither made nor lost. A reaction that runs one way has no detailed balance: the free energy shown leaves it out.";
    return { ...this.run.ledger(), note, falls: both || none };
  }

  energies() {
    return {
      path: this.run.path, xTitle: this.run.seeks ? "rounds" : "time, L²/D",
      note: 'Full line: the sum. <span style="color:var(--soft)">Dashed: mixing and reactions.</span> <span style="color:var(--cool-a)">Dotted: electric.</span>',
    };
  }

  get deceived() {
    return this.run.deceived;
  }

  iterations() {
    return this.run.iterations;
  }

  python() {
    const script = pythonOf(this.settings, Math.max(1, this.run.steps));
    return this.run.turned ? `# Settings were changed on the way; this begins with the last ones.\n${script}` : script;
  }

  summary() {
    const { shown, text } = MEASURES[this.preset.measure](this.run);
    return `${$("clock").textContent}. ${shown} ${text}.` + ($("alarm").hidden ? "" : ` ${$("alarm").textContent}`);
  }

  state() {
    const { run } = this;
    run.cell.solvePotential(run.c, run.cell.phi);
    const residuals = Object.fromEntries(Object.entries(run.iterations).map(([name, one]) => [name, [...one.residuals]]));
    return {
      preset: this.preset.name, settings: copyOf(this.settings), steps: run.steps, time: run.time,
      species: run.species.map(({ name }) => name), c: run.c.map((one) => [...one]), phi: [...run.cell.phi],
      ledger: run.ledger(), energy: run.path[run.path.length - 1].total, residuals,
      limit: run.limit, excess: run.excess, blown: run.blown, done: run.done, measure: MEASURES[this.preset.measure](run),
      python: this.python(),
    };
  }
}
