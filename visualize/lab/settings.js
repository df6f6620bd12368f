// What can be set, what it may be, and how the address of the page holds it.

const NOUGHT_TO_HUNDRED = [0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200];

/** Twenty to a decade, rounded to two digits, from 10^low to 10^high. */
function decades(low, high) {
  const found = [];
  for (let k = 0; k <= 20 * (high - low); k++) found.push(Number((10 ** (low + k / 20)).toPrecision(2)));
  return found;
}

const CONTROLS = [
  { key: "valenceA", group: "Modality A", label: "Valence", symbol: "<i>z</i><sub>A</sub>", values: [0, 1, 2, 3], choice: true,
    help: "Charges of a cation of this modality, and of an anion with the other sign. With 0 it feels no field and makes none." },
  { key: "valenceB", group: "Modality B", label: "Valence", symbol: "<i>z</i><sub>B</sub>", values: [0, 1, 2, 3], choice: true,
    help: "As the valence of A." },
  { key: "voltage", label: "Voltage", unit: "kT/e",
    values: Array.from({ length: 81 }, (_, k) => (k - 40) / 2),
    help: "Potential of the left electrode less that of the right. It sorts ions by charge; a fusion layer calls it the query." },
  { key: "debye", label: "Debye length", symbol: "<i>λ</i><sub>D</sub>", unit: "L",
    values: [0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3],
    help: "How far a charge is felt among the ions that are there at the start, where all have valence 1; ions of higher valence screen more." },
  { key: "ratio", label: "Diffusivities", symbol: "<i>D</i><sub>−</sub>/<i>D</i><sub>+</sub>",
    values: [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10],
    help: "Diffusivity of anions against that of cations. Ions of different speed pull each other along by the field between them." },
  { key: "dissociation", label: "Dissociation", symbol: "<i>k</i><sub>f</sub>", unit: "D/L²", values: NOUGHT_TO_HUNDRED,
    help: "How fast salt falls apart into a cation and an anion." },
  { key: "recombination", label: "Recombination", symbol: "<i>k</i><sub>b</sub>", unit: "D/(L²c)", values: NOUGHT_TO_HUNDRED,
    help: "How fast a cation and an anion that meet become salt." },
  { key: "step", label: "Step", symbol: "<i>Δt</i>", unit: "L²/D", values: decades(-6, 0),
    help: "Of time for explicit and implicit; for Picard and Anderson the length of the step that must change nothing." },
  { key: "solver", label: "Solver", values: ["explicit", "implicit", "picard", "anderson"], choice: true,
    names: { explicit: "Explicit", implicit: "Implicit", picard: "Picard", anderson: "Anderson" },
    help: "Explicit and implicit follow time. Picard and Anderson look for rest: the state that an implicit step leaves alone." },
  { key: "missing", label: "Missing", values: ["none", "A", "B"], choice: true,
    help: "A modality that is missing brings no salt; its neutral background of ions stays." },
  { key: "cells", label: "Grid cells", symbol: "<i>N</i>", values: [64, 128, 256], choice: true,
    help: "A finer grid needs shorter explicit steps: the limit falls with the square of the cell." },
];
const SPEED = { key: "speed", values: [1, 2, 5, 10, 20, 60] }; // steps in each sixtieth of a second; changes no number
const FEATURES = ["featuresA", "featuresB"]; // eight whole numbers from 0 to 9 each

const copyOf = (settings) => ({ ...settings, featuresA: [...settings.featuresA], featuresB: [...settings.featuresB] });
const sameFeatures = (a, b) => a.every((value, i) => value === b[i]);

/** The address of settings: the preset they began with, and what differs from it. */
function hashOf(settings, preset) {
  const parts = [`preset=${preset.name}`];
  for (const { key } of [...CONTROLS, SPEED]) {
    if (settings[key] !== preset.settings[key]) parts.push(`${key}=${settings[key]}`);
  }
  for (const key of FEATURES) {
    if (!sameFeatures(settings[key], preset.settings[key])) parts.push(`${key}=${settings[key].join("")}`);
  }
  return "#" + parts.join("&");
}

const NAME = ({ label, key }) => (key.startsWith("valence") ? `${label} of ${key.slice(-1)}` : label ?? "Speed");

/** What a setting may be, in words. */
function rangeWords(values) {
  return values.length <= 12 ? `one of ${values.join(", ")}` : `from ${say(values[0])} to ${say(values[values.length - 1])}, at a stop of its slider`;
}

/** Preset and settings of an address; what it does not say, or says wrongly, is as in the preset; and what was wrong. */
function readHash(hash, presets) {
  const told = new URLSearchParams(hash.replace(/^#/, ""));
  const refused = [], refuse = (key, text, range) => refused.push(`The address says ${key}=${text.slice(0, 24)}, which was not taken: ${range}.`);
  const preset = presets.find(({ name }) => name === told.get("preset")) ?? presets[0];
  if (told.has("preset") && told.get("preset") !== preset.name) refuse("preset", told.get("preset"), `an experiment is one of ${presets.map(({ name }) => name).join(", ")}`);
  const settings = copyOf(preset.settings);
  for (const control of [...CONTROLS, SPEED]) {
    const { key, values } = control, text = told.get(key);
    const value = text && values.find((one) => (typeof one === "number" ? Number(text) === one : text === one));
    if (value !== undefined && value !== null && value !== "") settings[key] = value;
    else if (text !== null) refuse(key, text, `${NAME(control)} is ${rangeWords(values)}`);
  }
  for (const key of FEATURES) {
    if (/^[0-9]{8}$/.test(told.get(key) ?? "")) settings[key] = [...told.get(key)].map(Number);
    else if (told.has(key)) refuse(key, told.get(key), "features are eight digits");
  }
  return { preset, settings, refused: refused.join(" ") };
}
