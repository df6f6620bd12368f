// The page: one subject (the lab, or a run that is played), its pictures, and the clock that moves it.

const given = JSON.parse($("given").textContent);
// In milliseconds:
const FRAME_BUDGET = 24; // of computing for a picture, so that slow machines stay smooth
const CALM_PAUSE = 500; // between pictures where motion is unwelcome
const CALM_BUDGET = 250; // of computing for each of those
const LONGEST_PICTURE = 1000; // that the film makes up for, after a pause of the browser

// What does something else with Space; sliders, choices and the tab that is open have no use for it.
const OWN_SPACE = "button:not([aria-selected=true]), select, textarea, summary, pre, input:not([type=range], [type=radio])";

const page = {
  playing: false, stale: true, before: 0, stage: new Stage(), subject: null, books: null,

  begin() {
    const mode = given.run ? "player" : "lab";
    document.body.dataset.mode = mode;
    this.books = new Books(mode, () => {
      this.stale = true;
      if (this.subject) this.draw(performance.now());
    });
    const told = { changed: (anew) => this.changed(anew), announce: (text) => this.announce(text), warn: (text) => this.warn(text) };
    this.subject = given.run ? new Player(given.run, told) : new Lab(given.presets, told);
    $("play").addEventListener("click", () => this.play(!this.playing));
    $("onward").addEventListener("click", () => this.once(1));
    $("back").addEventListener("click", () => this.once(-1));
    $("reset").addEventListener("click", () => this.reset());
    $("copy").addEventListener("click", () => this.copy());
    window.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.changed(false)).observe(document.body);
    for (const query of ["(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]) {
      window.matchMedia(query).addEventListener("change", () => {
        COLOURS.clear();
        this.changed(false);
      });
    }
    this.draw(performance.now());
    this.loop();
    document.body.dataset.ready = "yes";
  },

  changed(anew) {
    this.stale = true;
    if (anew) {
      this.stage.clear();
      if (this.playing && this.subject?.done) this.play(false);
    }
  },

  play(on) {
    if (on && this.subject.done) this.subject.reset();
    this.playing = on;
    this.stale = true;
    this.before = performance.now();
    $("play").textContent = on ? "Pause" : "Play";
    this.announce(on ? "Playing." : `Paused. ${this.subject.summary()}`);
  },

  once(count) {
    if (this.playing) this.play(false);
    this.subject.step(count);
    this.draw(performance.now());
    this.announce(this.subject.summary());
  },

  reset() {
    if (this.playing) this.play(false);
    this.subject.reset();
    this.announce("At the start.");
  },

  copy() {
    const range = document.createRange();
    range.selectNodeContents($("code"));
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    const copied = document.execCommand("copy"); // works from files too, where the clipboard is closed
    this.announce(copied ? "Copied." : "Selected; copy it with your keyboard.");
    $("copy").textContent = copied ? "Copied" : "Selected";
    setTimeout(() => ($("copy").textContent = "Copy"), 1500);
  },

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") {
      if (event.target.closest?.(OWN_SPACE)) return;
      event.preventDefault();
      return this.play(!this.playing);
    }
    const busy = event.target.closest?.("input, select, textarea, [role=tablist], pre");
    if (busy || (event.key === "Enter" && event.target.closest?.("button"))) return;
    if (event.key === "ArrowRight") this.once(1);
    else if (event.key === "ArrowLeft" && given.run) this.once(-1);
    else if (event.key === "r" || event.key === "R") this.reset();
    else if (/^[1-9]$/.test(event.key) && given.presets[event.key - 1] && !given.run) this.subject.choose(given.presets[event.key - 1].name);
    else return;
    event.preventDefault();
  },

  announce(text) {
    $("live").textContent = text;
  },

  warn(text) {
    $("warning").textContent = text;
  },

  loop() {
    const calm = this.stage.calm.matches;
    const next = (time) => {
      if (this.playing) this.tick(Math.max(0, Math.min(time - this.before, LONGEST_PICTURE)), calm ? CALM_BUDGET : FRAME_BUDGET);
      this.before = time;
      const moves = !calm && !document.hidden; // dots tremble
      if (this.playing || this.stale || moves) this.draw(time);
      this.loop();
    };
    if (calm && this.playing) setTimeout(() => next(performance.now()), CALM_PAUSE);
    else requestAnimationFrame(next);
  },

  tick(elapsed, budget) {
    this.subject.forward(elapsed, budget);
    if (!this.subject.done) return;
    this.play(false);
    this.announce(`Ended. ${this.subject.summary()}`);
  },

  draw(time) {
    if (!this.stale && !this.playing) return this.stage.tremble(time);
    this.stage.draw(this.subject.scene(), { now: time, playing: this.playing });
    this.subject.tell();
    this.books.draw(this.subject);
    if (!this.playing) this.stage.describe();
    this.stale = false;
  },

  /** What tests and the curious may ask: steps without the clock, and everything that is shown. */
  door() {
    return {
      step: (count = 1) => {
        this.subject.step(count);
        this.stale = true;
        this.draw(performance.now());
        return this.subject.state();
      },
      state: () => ({ ...this.subject.state(), playing: this.playing }),
      film: (milliseconds) => {
        this.subject.forward(milliseconds, Infinity);
        this.stale = true;
        this.draw(performance.now());
        return this.subject.state();
      },
      reset: () => this.reset(),
      choose: (name) => this.subject.choose(name),
      choices: (key) => CONTROLS.find((one) => one.key === key).values,
      time: (count) => {
        const begin = performance.now();
        this.subject.step(count);
        const worked = performance.now();
        this.stale = true;
        this.draw(performance.now());
        return { steps: worked - begin, drawing: performance.now() - worked };
      },
    };
  },
};
page.begin();
window.pnp = page.door();
