// Colours as the style sheet has them, and how a species is drawn: warm and cool for the sign of its
// charge, full lines and discs for the first modality, dashes and rings for the next.

const DASHES = [[], [7, 3], [2, 2.5], [9, 3, 2, 3]];

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
