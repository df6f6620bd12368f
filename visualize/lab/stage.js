// The three pictures of the cell: dots between electrodes, concentrations, potential. All share one axis.
//
// A scene is { species, x, edges, c, phi, walls: [left, right], start, lens, reservoirs }, a wall that is no electrode being
// null; the ions of modality `lens` are shown once more, enlarged.

const DOTS_PER_UNIT = 34; // of each species, for each unit of its mass in a cell of length 1
const MOST_DOTS = 90; // of each species

/** Numbers in (0, 1) that fill it evenly however many are taken: digits of i in a base, mirrored. */
function mirrored(i, base) {
  let value = 0, share = 1 / base;
  for (let k = i; k > 0; k = Math.floor(k / base)) {
    value += (k % base) * share;
    share /= base;
  }
  return value;
}
const PLACES = Array.from({ length: MOST_DOTS }, (_, k) => ({ share: mirrored(k + 1, 2), height: mirrored(k + 1, 3), phase: 40 * mirrored(k + 1, 5) }));

class Stage {
  constructor() {
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.top = null;
    this.fade = new Map();
  }

  /** Forgets what pictures of another run looked like. */
  clear() {
    this.top = null;
    this.fade.clear();
  }

  draw(scene, { now, playing }) {
    this.scene = scene;
    this.looks = looksOf(scene.species);
    this.drawCell(scene, now, playing);
    this.drawDensities(scene, playing);
    this.drawPotential(scene);
  }

  /** Lets the dots of the last scene tremble; all else stands as it is. */
  tremble(now) {
    this.drawCell(this.scene, now, false);
  }

  /** Says what the pictures show to who does not see them. */
  describe() {
    const { species, c, phi } = this.scene;
    const range = (values) => `${say(Math.min(...values), 2)} to ${say(Math.max(...values), 2)}`;
    $("densities").setAttribute("aria-label", `Concentrations along the cell: ${species.map(({ name }, s) => `${name} ${range(c[s])}`).join(", ")}`);
    $("potential").setAttribute("aria-label", `Electric potential along the cell: ${range(phi)} kT/e`);
  }

  drawCell({ species, c, edges, walls, widths, reservoirs = [] }, now, playing) {
    const { pen, width, height } = sheet($("cell"));
    const left = MARGIN.left, right = width - MARGIN.right, top = 8, bottom = height - 8;
    pen.fillStyle = colour("card");
    pen.strokeStyle = colour("line");
    pen.lineWidth = 1;
    pen.fillRect(left, top, right - left, bottom - top);
    pen.strokeRect(left, top, right - left, bottom - top);
    if (!(this.calm.matches && playing)) this.drawDots(pen, { species, c, edges, widths, left, right, top, bottom, now, playing }); // no moving dots
    walls.forEach((volt, end) => (volt !== null || reservoirs[end]) && this.drawWall(pen, volt, end === 0 ? left : right, end, top, bottom, reservoirs[end]));
  }

  drawDots(pen, { species, c, edges, widths, left, right, top, bottom, now, playing }) {
    const length = edges[edges.length - 1] - edges[0], width = right - left;
    const radius = width < 480 ? 3.6 : width < 1000 ? 4.6 : 6, inside = right - left - 2 * radius - 6;
    species.forEach((one, s) => {
      const cumulated = cumulate(c[s], widths), mass = cumulated[cumulated.length - 1];
      const wanted = Math.min(MOST_DOTS, (DOTS_PER_UNIT * mass) / length);
      for (let k = 0; k < MOST_DOTS; k++) {
        const shown = this.shownOf(s, k, k < wanted ? 1 : 0, playing);
        if (shown < 0.02 || !(mass > 0)) continue;
        const { share, height: level, phase } = PLACES[k];
        const at = (quantile(cumulated, edges, ((share + 0.137 * s) % 1) * mass) - edges[0]) / length;
        const tremble = this.calm.matches ? 0 : 2.2;
        const x = left + radius + 3 + at * inside + tremble * Math.sin(now / 410 + phase + s);
        const y = top + radius + 3 + ((level + 0.29 * s) % 1) * (bottom - top - 2 * radius - 6) + tremble * Math.cos(now / 530 + 1.7 * phase + s);
        this.drawDot(pen, x, y, one.z === 0 ? radius * 0.72 : radius, this.looks[s], shown);
      }
    });
  }

  /** How visible dot k is on its way to the wanted. */
  shownOf(s, k, wanted, playing) {
    const key = s * MOST_DOTS + k, now = this.fade.get(key) ?? wanted;
    const next = playing ? now + 0.15 * (wanted - now) : wanted;
    this.fade.set(key, next);
    return next;
  }

  drawDot(pen, x, y, radius, { name, ring, sign }, shown) {
    pen.globalAlpha = shown;
    pen.beginPath();
    pen.arc(x, y, ring ? radius - 0.6 : radius, 0, 2 * Math.PI);
    pen.strokeStyle = pen.fillStyle = colour(name);
    pen.lineWidth = 1.4;
    if (ring) {
      pen.fillStyle = colour("card");
      pen.fill();
      pen.stroke();
    } else pen.fill();
    pen.lineWidth = 1.3;
    pen.strokeStyle = ring ? colour(name) : colour("card");
    const arm = radius * 0.52;
    if (sign !== 0) line(pen, [x - arm, x + arm], [y, y]);
    if (sign > 0) line(pen, [x, x], [y - arm, y + arm]);
    pen.globalAlpha = 1;
  }

  /** An electrode, a wall that lets a bath of ions through, or both. */
  drawWall(pen, volt, x, end, top, bottom, reservoir) {
    const name = volt > 0 ? "warm-a" : volt < 0 ? "cool-a" : "faint", side = end === 0 ? -1 : 1;
    pen.strokeStyle = colour(name);
    pen.lineWidth = 4;
    pen.save();
    if (reservoir) pen.setLineDash([5, 9]);
    line(pen, [x + 2 * side, x + 2 * side], [top + 1, bottom - 1]);
    pen.restore();
    pen.save();
    if (reservoir) {
      pen.save();
      pen.translate(x + 15 * side, (top + bottom) / 2 + (volt === null ? 0 : 10));
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillStyle = colour("soft");
      pen.fillText("reservoir", 0, 0);
      pen.restore();
    }
    pen.font = `600 ${pen.font}`;
    pen.textBaseline = "middle";
    pen.textAlign = end === 0 ? "right" : "left";
    pen.fillStyle = colour(name);
    if (volt !== null) pen.fillText((volt > 0 ? "+" : "") + say(volt, Math.abs(volt) < 0.1 ? 1 : 3), x + 8 * side, reservoir ? top + 10 : (top + bottom) / 2);
    pen.restore();
  }

  drawDensities({ species, c, x, edges, start, lens }, playing) {
    const paper = sheet($("densities"));
    const { pen } = paper;
    let high = 0, low = 0;
    for (const one of c) for (const value of one) {
      if (value > high) high = value;
      if (value < low) low = value;
    }
    const wild = low < -1e-3;
    const wanted = wild ? 6 : Math.min(Math.max(1.15 * high, 2.6), 6.5);
    this.top = this.top === null || wild || !playing || this.calm.matches ? wanted : this.top + 0.12 * (wanted - this.top);
    const across = { x: [edges[0], edges[edges.length - 1]], right: MARGIN.right, bottom: 6, xTicks: [] };
    const box = frame(paper, { ...across, y: [wild ? -4 : 0, this.top], title: `concentration, c₀${this.peaks(c)}`, bottom: lens ? 0.53 * paper.height : 6 });
    if (lens) this.drawLens(paper, across, { species, c, x, lens });
    if (start) start.forEach((one, s) => species[s].kind === "salt" && this.fillUnder(pen, box, x, one, "grey-b", 0.13));
    if (wild) {
      pen.fillStyle = colour("alarm");
      pen.globalAlpha = 0.08;
      pen.fillRect(box.left, box.py(0), box.right - box.left, box.bottom - box.py(0));
      pen.globalAlpha = 1;
    }
    species.forEach(({ z }, s) => curve(pen, box, x, c[s], { ...this.looks[s], width: z > 0 ? 3.6 : 1.9 })); // of equal curves both show
    if (wild) {
      const words = "below zero: no concentration is", wide = pen.measureText(words).width;
      pen.fillStyle = colour("card");
      pen.fillRect(box.left + 6, box.bottom - 24, wide + 12, 20);
      pen.fillStyle = colour("alarm");
      pen.textAlign = "left";
      pen.fillText(words, box.left + 12, box.bottom - 10);
    }
  }

  /** The ions of one modality alone, at their own scale. */
  drawLens(paper, across, { species, c, x, lens }) {
    const own = species.flatMap(({ modality, kind }, s) => (modality === lens && kind !== "salt" ? [s] : []));
    const [low, high] = rangeOf(own.flatMap((s) => [...c[s]]), 0.08);
    const y = [Math.min(low, 0.4), Math.max(high, 0.6)];
    const box = frame(paper, { ...across, y, title: `the ions of ${lens} alone, enlarged`, top: 0.47 * paper.height + 18 * paper.em });
    for (const s of own) curve(paper.pen, box, x, c[s], { ...this.looks[s], width: species[s].z > 0 ? 3.6 : 1.9 });
  }

  /** How high curves go that leave the frame, in each half. */
  peaks(c) {
    const found = [];
    for (const [end, name] of [[0, "left"], [1, "right"]]) {
      let peak = 0;
      for (const one of c) {
        const half = one.length >> 1;
        for (let i = end * half; i < half + end * (one.length - half); i++) if (one[i] > peak) peak = one[i];
      }
      if (peak > 1.02 * this.top) found.push(`↑ ${say(peak)} ${name}`);
    }
    return found.length ? `, cut off: ${found.join(", ")}` : "";
  }

  /** The area between values and zero. */
  fillUnder(pen, box, x, values, name, strength) {
    pen.save();
    pen.beginPath();
    pen.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    pen.clip();
    pen.fillStyle = colour(name);
    pen.globalAlpha = strength;
    pen.beginPath();
    pen.moveTo(box.px(x[0]), box.py(0));
    for (let i = 0; i < x.length; i++) pen.lineTo(box.px(x[i]), box.py(values[i]));
    pen.lineTo(box.px(x[x.length - 1]), box.py(0));
    pen.fill();
    pen.restore();
  }

  drawPotential({ phi, x, edges, walls, fixed }) {
    const paper = sheet($("potential"));
    const [first, last] = walls.map((volt) => volt !== null);
    const xs = [...(first ? [edges[0]] : []), ...x, ...(last ? [edges[edges.length - 1]] : [])];
    const ys = [...(first ? [walls[0]] : []), ...phi, ...(last ? [walls[1]] : [])];
    let [low, high] = rangeOf(ys.filter(Number.isFinite), 0.12);
    low = Math.min(low, -0.6);
    high = Math.max(high, 0.6);
    const box = frame(paper, { x: [edges[0], edges[edges.length - 1]], y: [low, high], title: "potential, kT/e", xTitle: "place, L", right: MARGIN.right });
    if (fixed) this.drawFixedCharge(paper.pen, box, x, fixed, [low, high]);
    curve(paper.pen, box, xs, ys, { name: "ink", width: 1.8 });
  }

  /** Fixed charge behind the potential, at its own scale: warm above zero, cool below. */
  drawFixedCharge(pen, box, x, fixed, [low, high]) {
    const above = Math.max(1e-300, ...fixed), below = Math.max(1e-300, ...fixed.map((value) => -value));
    const scale = 0.95 * Math.min(high / above, -low / below);
    this.fillUnder(pen, box, x, fixed.map((value) => scale * Math.max(0, value)), "warm-a", 0.2);
    this.fillUnder(pen, box, x, fixed.map((value) => scale * Math.min(0, value)), "cool-a", 0.2);
  }
}

/** The integral of a concentration up to each edge; what is negative counts nothing. */
function cumulate(values, widths) {
  const sums = new Float64Array(values.length + 1);
  for (let i = 0; i < values.length; i++) sums[i + 1] = sums[i] + (values[i] > 0 ? Math.min(values[i], 1e9) * widths[i] : 0);
  return sums;
}

/** Where the integral reaches `amount`. */
function quantile(sums, edges, amount) {
  let low = 0, high = sums.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sums[middle] <= amount) low = middle;
    else high = middle;
  }
  const share = sums[high] > sums[low] ? (amount - sums[low]) / (sums[high] - sums[low]) : 0.5;
  return edges[low] + share * (edges[high] - edges[low]);
}

/** The legend, as a list. */
function drawLegend(species, hasFixed = false) {
  const looks = looksOf(species);
  $("legend").replaceChildren(
    ...species.map(({ name, z, kind }, s) => {
      const item = document.createElement("li");
      const { name: hue, dashes } = looks[s];
      item.innerHTML = `<svg viewBox="0 0 26 10" aria-hidden="true"><line x1="1" x2="25" y1="5" y2="5" stroke="var(--${hue})" stroke-width="2.4" stroke-dasharray="${dashes.join(" ")}"/></svg>`;
      const charge = z === 0 ? "" : ` (${z > 0 ? "+" : MINUS}${Math.abs(z) === 1 ? "" : say(Math.abs(z))})`;
      item.append(name + (kind === "salt" || z === 0 ? "" : charge));
      return item;
    }),
  );
  const shaded = species.some(({ kind }) => kind === "salt") ? "salt at first" : hasFixed ? "fixed charge, behind the potential" : "";
  if (!shaded) return;
  const item = element("li", {});
  item.innerHTML = '<svg viewBox="0 0 26 10" aria-hidden="true"><rect width="26" height="10" fill="var(--grey-b)" opacity=".3"/></svg>';
  item.append(shaded);
  $("legend").append(item);
}
