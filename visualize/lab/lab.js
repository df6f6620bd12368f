// The lab: an experiment that is computed here, with everything that can be set.

const LOST = "Where a concentration is negative there is no free energy: Δt is too long. Take a shorter one.";
const RISEN = "The free energy has risen, which it does in no closed cell: Δt is too long. Take a shorter one.";

class Lab {
  constructor(presets, { changed, announce, warn }) {
    this.presets = presets;
    this.changed = changed;
    this.announce = announce;
    this.warn = warn;
    this.controls = new Controls((key, value) => this.set(key, value));
    $("presets").replaceChildren(
      ...presets.map(({ name, title }, k) => {
        const button = element("button", { id: `preset-${name}`, title: `Key ${k + 1}` });
        button.append(element("span", { className: "number", textContent: k + 1 }), title);
        button.addEventListener("click", ({ detail }) => {
          this.choose(name);
          if (detail) $("play").focus({ preventScroll: true }); // after a click Space plays; keys stay where they are
        });
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
    const { preset, settings, refused } = readHash(location.hash, this.presets);
    this.begin(preset, settings, refused);
    if (preset.tab) $(`tab-${preset.tab}`)?.click();
  }

  choose(name) {
    const preset = this.presets.find((one) => one.name === name);
    this.begin(preset, copyOf(preset.settings));
    $(`tab-${preset.tab}`).click();
    this.announce(`${preset.title}. ${preset.claim}`);
  }

  begin(preset, settings, refused = "") {
    this.preset = preset;
    this.settings = settings;
    this.refused = refused;
    $("claim").textContent = preset.claim;
    for (const { name } of this.presets) $(`preset-${name}`).setAttribute("aria-pressed", name === preset.name);
    this.reveal($(`preset-${preset.name}`));
    this.reset();
  }

  /** Brings a tab to the middle of its row, where the row is wider than the screen. */
  reveal(tab) {
    const row = $("presets").parentElement, [own, whole] = [tab, row].map((one) => one.getBoundingClientRect());
    row.scrollLeft += own.left + own.width / 2 - whole.left - whole.width / 2;
  }

  /** Changes one setting: a run in time goes on under it where it can, else all begins anew. */
  set(key, value) {
    this.settings[key] = value;
    this.refused = "";
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
    this.due = 0; // steps, of which a part may be left from the last picture
    drawLegend(this.run.species);
    this.refresh();
    this.changed(true);
  }

  refresh() {
    this.controls.show(this.settings);
    this.address();
    this.changed(false);
  }

  /** Makes the address say the settings; a moment later where the browser bears no more changes now. */
  address() {
    clearTimeout(this.later);
    const hash = hashOf(this.settings, this.preset);
    try {
      if (location.hash !== hash) history.replaceState(null, "", hash);
    } catch {
      this.later = setTimeout(() => this.address(), 1000);
    }
  }

  get done() {
    return this.run.done;
  }

  get solver() {
    return this.settings.solver;
  }

  /** The steps of so many milliseconds, or fewer where they take longer than the budget. */
  forward(elapsed, budget) {
    this.due += (elapsed * 60 * this.settings.speed) / 1000;
    this.run.advance(Math.floor(this.due), budget);
    this.due %= 1;
  }

  step(count = 1) {
    this.run.advance(count);
  }

  scene() {
    const { run } = this, { n, cell } = run;
    cell.solvePotential(run.c, cell.phi);
    const edges = Float64Array.from({ length: n + 1 }, (_, i) => i / n);
    return {
      species: run.species, c: run.c, start: run.start, lens: this.preset.measure === "borrowed" && "B", phi: cell.phi, edges, blown: run.blown,
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
    $("clock").textContent = run.ending ? `${where}: ${run.ending}` : where;
    this.alarm();
  }

  alarm() {
    const { run } = this, alarm = $("alarm"), { excess } = run;
    const explicit = this.settings.solver === "explicit";
    const tooLong = explicit && (excess > 1 || run.blown);
    alarm.hidden = !tooLong && !this.refused;
    if (!tooLong) {
      this.alarmed = "";
      if (alarm.textContent !== this.refused) alarm.textContent = this.refused;
      return this.warnOnce(this.refused);
    }
    const growth = say(Math.abs(1 - 2 * excess), 3);
    const why = run.blown
      ? `It has blown up after ${run.steps} steps.`
      : run.lowest < 0 ? "It is blowing up." : "It will blow up.";
    const words = `<b>Δt / Δt<sub>max</sub> = ${say(excess, 3)}</b> ${why} Each step overshoots: it turns the shortest ripple over and makes it up to ${growth} times as high. Stable up to Δt<sub>max</sub> = 2 / (4D/h² + D Σz²c/ε) = ${say(run.limit, 2)}; implicit steps have no such limit.`;
    if (this.alarmed !== words + this.refused) {
      alarm.innerHTML = words;
      if (this.refused) alarm.append(` ${this.refused}`); // what an address says is no markup
    }
    this.alarmed = words + this.refused;
    this.warnOnce(`The step is too long. ${why}${this.refused && ` ${this.refused}`}`);
  }

  /** Says a warning aloud when it changes, not with every picture. */
  warnOnce(text) {
    if (text !== this.warned) this.warn(text);
    this.warned = text;
  }

  /** Whether the free energy must fall: with detailed balance, and of a motion, which rounds are not. */
  get falls() {
    const { dissociation, recombination } = this.settings;
    return dissociation > 0 === recombination > 0 && !this.run.seeks;
  }

  /** What a free energy that does not fall says of the step. */
  get fault() {
    return Number.isNaN(this.run.ledger().energy) ? LOST : RISEN;
  }

  books() {
    const ledger = this.run.ledger(), bad = this.falls && ledger.rises;
    const note = bad
      ? this.fault
      : this.falls
        ? "Atoms are neither made nor lost; with steps short enough the free energy only falls."
        : this.run.seeks
          ? "Atoms are neither made nor lost. Rounds are no motion: on the way to rest the free energy may rise."
          : "Atoms are neither made nor lost. A reaction that runs one way has no detailed balance: the free energy shown leaves it out.";
    return { ...ledger, note, bad };
  }

  energies() {
    return {
      path: this.run.path, xTitle: this.run.seeks ? "rounds" : "time, L²/D",
      note: this.falls && this.run.ledger().rises
        ? `<span class="bad">${this.fault}</span>`
        : 'Full line: the sum. <span style="color:var(--soft)">Dashed: mixing and reactions.</span> <span style="color:var(--cool-a)">Dotted: electric.</span>',
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
      limit: run.limit, excess: run.excess, blown: run.blown, done: run.done, ending: run.ending, measure: MEASURES[this.preset.measure](run),
      python: this.python(),
    };
  }
}
