// Colours as the style sheet has them, and how a species is drawn: warm and cool for the sign of its
// charge, full lines and discs for the first modality, dashes and rings for the next.

const DASHES = [[], [7, 3], [2, 2.5], [9, 3, 2, 3]];
const $ = (id) => document.getElementById(id);
const MINUS = "\u2212";

const COLOURS = new Map(); // those of the theme as it is; cleared when it changes

function colour(name) {
  if (!COLOURS.has(name)) COLOURS.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return COLOURS.get(name);
}

/** The look of every species: its hue by the sign of z, its dashes by its place among those of that sign. */
function looksOf(species) {
  const seen = {};
  return species.map(({ z }) => {
    const family = z > 0 ? "warm" : z < 0 ? "cool" : "grey";
    const place = (seen[family] = (seen[family] ?? -1) + 1);
    return { name: `${family}-${place % 2 ? "b" : "a"}`, dashes: DASHES[place % DASHES.length], ring: place % 2 === 1, sign: Math.sign(z) };
  });
}

/** A number for people: 0.406, 12.3, 2·10⁻¹⁶, with a true minus. */
function say(value, digits = 3) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : `${MINUS}∞`;
  const size = Math.abs(value);
  let text;
  if (size >= 1e-3 && size < 1e5) text = String(Number(size.toPrecision(digits)));
  else {
    const [mantissa, exponent] = size.toExponential(Math.min(1, digits - 1)).split("e");
    text = `${mantissa.replace(/\.0$/, "")}·10${superscript(Number(exponent))}`;
  }
  return value < 0 ? MINUS + text : text;
}

/** A text that is no markup. */
const plain = (text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);

const superscript = (n) => [...String(n)].map((one) => (one === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[one])).join("");
const percent = (value) => !Number.isFinite(value) ? "–" : `${value < 0 ? MINUS : ""}${Number((100 * Math.abs(value)).toPrecision(value < 0.995 ? 2 : 3))} %`;
