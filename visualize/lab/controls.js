// Sliders, choices and the two rows of features; each calls `changed(key, value)`.

class Controls {
  constructor(changed) {
    this.changed = changed;
    this.fields = new Map();
    const parts = [this.features("A"), this.features("B")];
    for (const control of CONTROLS) parts.push(control.choice ? this.choice(control) : this.slider(control));
    $("controls").replaceChildren(...parts, this.help());
    $("speed").replaceChildren(...SPEED.values.map((value) => element("option", { value, textContent: 60 * value })));
    $("speed").addEventListener("change", () => changed("speed", Number($("speed").value)));
  }

  /** Shows settings, without calling back. */
  show(settings) {
    for (const control of CONTROLS) this.fields.get(control.key)(settings[control.key]);
    $("speed").value = settings.speed;
    for (const key of FEATURES) this.fields.get(key)(settings[key], settings.missing === key.slice(-1));
  }

  /** What each control is, for who has nothing to hover with. */
  help() {
    const list = element("dl", {});
    for (const { key, label, symbol, help } of CONTROLS) {
      if (key === "valenceB") continue; // as A's
      const name = element("dt", {});
      name.innerHTML = label + (symbol && key !== "valenceA" ? ` ${symbol}` : "");
      list.append(name, element("dd", { textContent: help }));
    }
    const whole = element("details", { id: "help" });
    whole.append(element("summary", { textContent: "What the controls do" }), list);
    return whole;
  }

  slider({ key, label, symbol, unit, values, help }) {
    const field = element("div", { className: "field" });
    const input = element("input", { type: "range", id: key, min: 0, max: values.length - 1, step: 1, title: help });
    const output = element("output", {});
    const told = element("label", { htmlFor: key, title: help });
    told.innerHTML = label + (symbol ? ` ${symbol}` : "");
    output.setAttribute("for", key);
    output.setAttribute("aria-live", "off"); // the slider says it
    const show = (value) => {
      input.value = values.indexOf(value);
      output.textContent = `${key === "voltage" && value > 0 ? "+" : ""}${say(value)}${unit ? " " + unit : ""}`;
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => this.changed(key, values[input.value]));
    this.fields.set(key, show);
    field.append(told, output, input);
    return field;
  }

  choice({ key, label, symbol, values, names, help, group }) {
    const field = element("fieldset", { className: "field inline" + (key === "solver" ? " wide" : ""), title: help });
    const legend = element("legend", {});
    legend.innerHTML = (group ? `${label} of ${group.slice(-1)}` : label) + (symbol ? ` ${symbol}` : "");
    const row = element("div", { className: "choice" });
    const inputs = values.map((value, k) => {
      const input = element("input", { type: "radio", name: key, id: `${key}-${value}`, value: k });
      input.addEventListener("change", () => this.changed(key, value));
      const option = element("label", { htmlFor: input.id });
      option.append(input, element("span", { textContent: names?.[value] ?? value }));
      row.append(option);
      return input;
    });
    this.fields.set(key, (value) => inputs.forEach((input, k) => (input.checked = values[k] === value)));
    field.append(legend, row);
    return field;
  }

  features(modality) {
    const key = "features" + modality;
    const field = element("fieldset", { className: "field" });
    field.dataset.modality = modality;
    const row = element("div", { className: "features" });
    const inputs = Array.from({ length: 8 }, (_, k) => {
      const input = element("input", { type: "range", id: `${key}-${k}`, min: 0, max: 9, step: 1 });
      input.setAttribute("aria-label", `Feature ${k + 1} of ${modality}`);
      input.setAttribute("aria-orientation", "vertical");
      input.addEventListener("input", () => this.changed(key, inputs.map((one) => Number(one.value))));
      row.append(input);
      return input;
    });
    this.fields.set(key, (values, missing) => {
      inputs.forEach((input, k) => {
        input.value = values[k];
        input.disabled = missing;
        input.style.setProperty("--share", values[k] / 9);
      });
      row.setAttribute("aria-disabled", missing);
    });
    field.append(element("legend", { textContent: `Features of ${modality}, as salt` }), row);
    return field;
  }
}
