// The experiment as a script for pnpfusion, which comes to the same numbers.

const STEPPERS = {
  explicit: (step, steps) => [
    `times = torch.tensor([0, ${steps} * ${step}], dtype=torch.float64)`,
    `run = pf.simulate(cell, c0, times, stepper=pf.solvers.Euler(dt=${step}))`,
    "print(run.final)",
  ],
  implicit: (step, steps) => [
    `times = torch.tensor([0, ${steps} * ${step}], dtype=torch.float64)`,
    `run = pf.simulate(cell, c0, times, stepper=pf.solvers.AsymptoticPreserving(dt=${step}))`,
    "print(run.ledger)",
  ],
};

/** The script, for so many steps. */
function pythonOf(settings, steps) {
  const { cells, debye, voltage, ratio, dissociation, recombination, missing, solver, step } = settings;
  const lines = ["import torch, pnpfusion as pf", "", `n, ratio = ${cells}, ${ratio}  # grid cells, D of anions`];
  lines.push("species, start, reactions = [], [], []");
  const told = ["A", "B"].map((m) => {
    const features = missing === m ? "[0] * 8" : `[${settings["features" + m].join(", ")}]`;
    return `("${m}", ${settings["valence" + m]}, ${features})`;
  });
  lines.push(`for name, z, features in [`, `    ${told[0]},`, `    ${told[1]},`, "]:");
  lines.push(
    `    species += [pf.Species(f"{name} cation", z), pf.Species(f"{name} anion", -z, ratio)]`,
    `    species += [pf.Species(f"{name} salt", 0, ${SALT_DIFFUSIVITY})]`,
    `    ions = torch.full((n,), ${BACKGROUND}, dtype=torch.float64)`,
    `    salt = ${FEATURE_UNIT} * torch.tensor(features).double().repeat_interleave(n // 8)`,
    "    start += [ions, ions, salt]",
  );
  if (dissociation > 0 || recombination > 0) {
    lines.push(
      "    reactions += [",
      '        pf.Reaction([f"{name} salt"], [f"{name} cation", f"{name} anion"], '
        + `${dissociation}, ${recombination})`,
      "    ]",
    );
  }
  lines.push(
    "cell = pf.PNP(",
    '    pf.Grid((n,), (1.0,), ("wall",)),',
    "    species,",
    `    permittivity=2 * ${debye}**2,`,
    `    walls={"x-": pf.Wall(potential=${voltage / 2}), "x+": pf.Wall(potential=${-voltage / 2})},`,
    "    reactions=reactions,",
    ")",
    "c0 = torch.stack(start)",
  );
  if (solver in STEPPERS) return [...lines, ...STEPPERS[solver](step, steps)].join("\n") + "\n";
  const name = solver === "picard" ? "Picard" : "Anderson";
  lines.push(
    "",
    "",
    "class OneStep(pf.Dynamics):  # rest is what an implicit step leaves alone",
    "    state_ndim = 2",
    "",
    "    def rate(self, t, u, x=None):",
    `        dt = torch.full(u.shape[:1], ${step}, dtype=u.dtype)`,
    "        return cell.bind(u).robust_step(0 * dt, dt, u) - u",
    "",
    "",
    `solver = pf.solvers.${name}(max_evaluations=${steps + 1})`,
    "run = pf.equilibrium(OneStep(), c0[None], solver=solver, tol=1e-9)",
    "print(run.history)",
  );
  return lines.join("\n") + "\n";
}
