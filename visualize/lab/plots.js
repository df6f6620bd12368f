// Pictures on a canvas: frames, axes and curves, sharp on every screen.

const MARGIN = { left: 46, right: 44 }; // of the cell, where electrodes say their potential

/** A canvas ready to be drawn on in CSS pixels: its context, width, height, and letters against 12 pixels. */
function sheet(canvas) {
  const scale = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const { fontSize, fontFamily } = getComputedStyle(canvas);
  pen.font = `${fontSize} ${fontFamily}`;
  pen.lineJoin = pen.lineCap = "round";
  return { pen, width, height, em: parseFloat(fontSize) / 12 };
}

/** Some three to five round numbers between low and high. */
function ticks(low, high, most = 4) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough * 0.999) * power;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/** At least three round numbers, where a picture is low. */
function fewTicks(low, high) {
  const found = ticks(low, high, 3);
  return found.length > 2 ? found : ticks(low, high, 5);
}

/** A frame with axes; gives the two maps from numbers to places. */
function frame({ pen, width, height, em }, { x, y, top = 14 * em, bottom = 18 * em, left = MARGIN.left, right = 14, title, xTitle, log, xTicks }) {
  const px = (value) => left + ((value - x[0]) / (x[1] - x[0])) * (width - left - right);
  const low = log ? Math.log10(y[0]) : y[0], high = log ? Math.log10(y[1]) : y[1];
  const py = (value) => height - bottom - (((log ? Math.log10(value) : value) - low) / (high - low)) * (height - top - bottom);
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const marks = log ? ticks(low, high).filter(Number.isInteger).map((one) => 10 ** one) : height - top - bottom < 110 ? fewTicks(y[0], y[1]) : ticks(y[0], y[1], 4);
  for (const value of marks) {
    pen.strokeStyle = colour(value === 0 && !log ? "faint" : "line");
    line(pen, [left, width - right], [py(value), py(value)]);
    pen.fillStyle = colour("soft");
    pen.fillText(log ? `10${superscript(Math.round(Math.log10(value)))}` : say(value), left - 7, py(value));
  }
  pen.textBaseline = "top";
  pen.textAlign = "center";
  for (const value of xTicks ?? ticks(x[0], x[1], 5)) pen.fillText(say(value), Math.min(px(value), width - right - 3), height - bottom + 5);
  pen.fillStyle = colour("soft");
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  const taken = xTitle ? pen.measureText(xTitle).width + 8 : 0;
  if (title) pen.fillText(title, left, top - 4, width - left - right - taken);
  pen.textAlign = "right";
  if (xTitle) pen.fillText(xTitle, width - right, top - 4);
  return { px, py, left, right: width - right, top, bottom: height - bottom };
}

function line(pen, xs, ys) {
  pen.beginPath();
  for (let i = 0; i < xs.length; i++) pen.lineTo(xs[i], ys[i]);
  pen.stroke();
}

/** A curve, kept inside its frame. */
function curve(pen, box, xs, ys, { name, dashes = [], width = 2 }) {
  pen.save();
  pen.beginPath();
  pen.rect(box.left, box.top - 1, box.right - box.left, box.bottom - box.top + 2);
  pen.clip();
  pen.setLineDash(dashes);
  pen.strokeStyle = colour(name);
  pen.lineWidth = width;
  pen.beginPath();
  let down = false;
  for (let i = 0; i < xs.length; i++) {
    const place = box.py(ys[i]);
    if (!Number.isFinite(place)) { down = false; continue; }
    const at = Math.max(-1e4, Math.min(1e4, place));
    if (down) pen.lineTo(box.px(xs[i]), at);
    else pen.moveTo(box.px(xs[i]), at);
    down = true;
  }
  pen.stroke();
  pen.restore();
}

/** The range of some numbers, with a little room. */
function rangeOf(values, room = 0.06) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!(high > low)) return Number.isFinite(low) ? [low - Math.max(0.5, Math.abs(low) * 0.05), low + Math.max(0.5, Math.abs(low) * 0.05)] : [0, 1];
  return [low - room * (high - low), high + room * (high - low)];
}
