// Numbers and texts as people read them.

const MINUS = "\u2212";

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
