// Systems with three diagonals, by elimination without pivoting: all of ours are M-matrices.

/** Solves lower[i] x[i-1] + diagonal[i] x[i] + upper[i] x[i+1] = load[i] into x; work is scratch. */
function solveTridiagonal(lower, diagonal, upper, load, x, work) {
  const n = diagonal.length;
  let pivot = diagonal[0];
  x[0] = load[0] / pivot;
  for (let i = 1; i < n; i++) {
    work[i] = upper[i - 1] / pivot;
    pivot = diagonal[i] - lower[i] * work[i];
    x[i] = (load[i] - lower[i] * x[i - 1]) / pivot;
  }
  for (let i = n - 2; i >= 0; i--) x[i] -= work[i + 1] * x[i + 1];
}

/** B(u) = u / (exp(u) - 1) of all u >= 0 and, since B(-u) = B(u) + u, of their negatives; to round-off. */
function bernoulli(u) {
  if (u < 1e-2) {
    const squared = u * u;
    return 1 + squared * (1 / 12 - squared * (1 / 720 - squared / 30240)) - u / 2;
  }
  return (Math.exp(-u) * u) / -Math.expm1(-u);
}

/** Its derivative at u >= 0, where B(u) is `value`. */
function bernoulliSlope(u, value) {
  if (u < 1e-2) {
    const squared = u * u;
    return -0.5 + u * (1 / 6 - squared * (1 / 180 - squared / 5040));
  }
  return (value * (1 - value - u)) / u;
}
