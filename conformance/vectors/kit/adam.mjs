// An answerer for checker.mjs: Adam as in algorithm 1 of its paper, in plain JavaScript.
export function answer(kind, component, keywords, inputs) {
  if (kind !== "optimizer" || component !== "adam") return null; // not offered: nothing is said of it
  if (keywords.epsilon_position !== "outside_root" || keywords.amsgrad || keywords.weight_decay) return null;
  const { beta1, beta2, epsilon } = keywords;
  const first = "step" in inputs ? inputs.step : 1; // one step from a given state, or a run from the beginning
  const rates = ("step" in inputs ? inputs.learning_rate : inputs.learning_rates).decimal;
  const found = {};
  for (const path of Object.keys(inputs).filter((name) => name.startsWith("parameters/"))) {
    const name = path.split("/")[1];
    const slot = (slot) => inputs[`slots/${slot}/${name}`]?.decimal.slice() ?? w.map(() => 0);
    const w = inputs[path].decimal.slice(), g = inputs[`gradients/${name}`].decimal;
    const m = slot("first_moment"), v = slot("second_moment"), after = [];
    rates.forEach((rate, number) => {
      const correction1 = 1 - beta1 ** (first + number), correction2 = 1 - beta2 ** (first + number);
      for (let i = 0; i < w.length; i++) {
        const now = g[number * w.length + i];
        m[i] = beta1 * m[i] + (1 - beta1) * now;
        v[i] = beta2 * v[i] + (1 - beta2) * now * now;
        w[i] -= (rate * (m[i] / correction1)) / (Math.sqrt(v[i] / correction2) + epsilon);
      }
      after.push(...w);
    });
    Object.assign(found, { [path]: after, [`slots/first_moment/${name}`]: m, [`slots/second_moment/${name}`]: v });
  }
  return found;
}
