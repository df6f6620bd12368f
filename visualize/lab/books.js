// The tabs: ledger, energy, fixed point, and the same as a Python script.

const TABS = [
  { key: "ledger", name: "Ledger" },
  { key: "energy", name: "Energy" },
  { key: "rest", name: "Fixed point", lab: true },
  { key: "python", name: "Python", lab: true },
];

class Books {
  constructor(mode, chosen) {
    this.tabs = TABS.filter(({ lab }) => mode === "lab" || !lab);
    this.chosen = "ledger";
    $("tabs").replaceChildren(...this.tabs.map((tab) => this.button(tab, chosen)));
    $("tabs").addEventListener("keydown", (event) => this.onKey(event));
    this.choose("ledger");
  }

  button({ key, name }, chosen) {
    const button = document.createElement("button");
    Object.assign(button, { id: `tab-${key}`, textContent: name });
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", "panel");
    button.addEventListener("click", () => {
      this.choose(key);
      chosen();
    });
    return button;
  }

  onKey(event) {
    const turn = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!turn) return;
    event.stopPropagation();
    const at = this.tabs.findIndex(({ key }) => key === this.chosen);
    const next = this.tabs[(at + turn + this.tabs.length) % this.tabs.length].key;
    $(`tab-${next}`).click();
    $(`tab-${next}`).focus();
  }

  choose(key) {
    this.chosen = key;
    for (const tab of this.tabs) {
      const button = $(`tab-${tab.key}`), on = tab.key === key;
      button.setAttribute("aria-selected", on);
      button.tabIndex = on ? 0 : -1;
    }
    $("panel").setAttribute("aria-labelledby", `tab-${key}`);
    $("table").hidden = key !== "ledger";
    $("curve").toggleAttribute("hidden", key !== "energy" && key !== "rest");
    $("script").hidden = key !== "python";
    $("note").hidden = key === "python";
    $("note").classList.remove("bad");
  }

  /** Draws what is chosen of a subject, which has `ledger`, `path` and so on. */
  draw(subject) {
    if (this.chosen === "ledger") this.drawLedger(subject.books());
    if (this.chosen === "energy") this.drawEnergy(subject.energies());
    if (this.chosen === "rest") this.drawRest(subject.iterations(), subject.solver, subject.deceived);
    if (this.chosen === "python") $("code").textContent = subject.python();
  }

  drawLedger({ rows, charge, energy, energyStart, lowest, note, bad: risen = false, open, turned }) {
    const cells = [
      ...rows.map(({ name, start, now, free }) => [name, say(start, 5), say(now, 5), say(now - start, free ? 3 : 1), !free && Math.abs(now - start) > 1e-9 * Math.max(1, Math.abs(start))]),
      ["net charge", "", say(Math.abs(charge) < 1e-12 ? 0 : charge, 3), "", !open && Math.abs(charge) > 1e-9],
      [turned ? "free energy, since the last change" : "free energy", say(energyStart, 5), say(energy, 5), say(energy - energyStart, 3), risen],
      ["smallest concentration so far", "", say(lowest, 3), "", lowest < 0],
    ];
    const body = cells.map(([name, start, now, change, bad]) => `<tr><th scope="row">${plain(name)}</th><td>${start}</td><td${bad && !change ? ' class="bad"' : ""}>${now}</td><td${bad && change ? ' class="bad"' : ""}>${change}</td></tr>`);
    $("table").innerHTML = `<table><thead><tr><th scope="col">What</th><th scope="col">at the start</th><th scope="col">now</th><th scope="col">change</th></tr></thead><tbody>${body.join("")}</tbody></table>`;
    $("note").textContent = note;
    $("note").classList.toggle("bad", risen);
  }

  drawEnergy({ path, xTitle, xTicks, now, note }) {
    const paper = sheet($("curve")), { pen } = paper;
    const span = path[path.length - 1].at - path[0].at || 1;
    const totals = path.map(({ total }) => total);
    const parts = path[0].mixing === undefined ? [] : ["mixing", "electric"];
    const shown = parts.length ? path.flatMap(({ mixing, electric, total }) => [mixing, electric, total]) : totals;
    const box = frame(paper, { x: [path[0].at, path[0].at + span], y: rangeOf(shown.filter(Number.isFinite)), title: "free energy, RT c₀ L", xTitle, xTicks });
    const xs = path.map(({ at }) => at);
    const looks = { mixing: { name: "grey-b", dashes: [6, 3], width: 1.6 }, electric: { name: "cool-a", dashes: [2, 2.5], width: 1.8 } };
    for (const part of parts) {
      curve(pen, box, xs, path.map((one) => one[part]), looks[part]);
    }
    curve(pen, box, xs, totals, { name: "ink", width: 2.2 });
    if (now !== undefined) {
      pen.strokeStyle = colour("accent");
      line(pen, [box.px(now), box.px(now)], [box.top, box.bottom]);
    }
    $("curve").setAttribute("aria-label", `Free energy, now ${say(totals[totals.length - 1])}`);
    $("note").innerHTML = note;
  }

  drawRest(iterations, solver, deceived) {
    const paper = sheet($("curve")), { pen } = paper;
    const named = Object.entries(iterations);
    if (!named.length) {
      pen.fillStyle = colour("soft");
      pen.textAlign = "left";
      wrapped(pen, "Choose Picard or Anderson: both look for rest, the state that an implicit step leaves alone.", 8, 30, paper.width - 16, 18);
      $("note").textContent = "Rest is a fixed point u = g(u), with g one implicit step of length Δt.";
      $("curve").setAttribute("aria-label", "No fixed-point solve yet");
      return;
    }
    const most = Math.max(10, ...named.map(([, one]) => one.residuals.length - 1));
    const box = frame(paper, { x: [0, most], y: [1e-10, 1], log: true, title: "residual |g(u) − u| / |g(u)|", xTitle: "rounds", xTicks: ticks(0, most, 5).filter(Number.isInteger) });
    const looks = { picard: { name: "warm-a", dashes: [7, 3] }, anderson: { name: "cool-a", dashes: [] } };
    pen.setLineDash([2, 3]);
    pen.strokeStyle = colour("faint");
    line(pen, [box.left, box.right], [box.py(1e-9), box.py(1e-9)]);
    pen.setLineDash([]);
    for (const [name, one] of named) {
      curve(pen, box, one.residuals.map((_, k) => k), one.residuals, { ...looks[name], width: name === solver ? 2.6 : 1.6 });
      const last = one.residuals.length - 1;
      pen.fillStyle = colour(looks[name].name);
      pen.textAlign = "right";
      const under = name === "anderson" ? 16 : -9;
      pen.fillText(name === "picard" ? "Picard" : "Anderson", Math.max(box.left + 60, box.px(last) - 4), Math.min(box.bottom - 4, Math.max(box.top + 10, box.py(Math.max(one.residuals[last], 1e-10)) + under)));
    }
    const told = named.map(([name, one]) => `${name === "picard" ? "Picard" : "Anderson"} ${say(one.residuals[one.residuals.length - 1], 2)} after ${one.residuals.length - 1}`);
    $("curve").setAttribute("aria-label", `Residuals: ${told.join("; ")} rounds`);
    const warning = "The map stands still here, the cell would not: in so long a step reactions undo what motion did. Take a shorter Δt.";
    $("note").textContent = deceived ? warning : `${told.join("; ")} rounds, from the same start.`;
    $("note").classList.toggle("bad", deceived);
  }
}

/** A text in lines of at most so many pixels. */
function wrapped(pen, text, x, y, width, leading) {
  let line = "";
  for (const word of text.split(" ")) {
    if (pen.measureText(`${line} ${word}`).width > width) {
      pen.fillText(line, x, y);
      y += leading;
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  pen.fillText(line, x, y);
}
