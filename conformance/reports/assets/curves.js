"use strict";
// The curves: the implementations over the oracle, and below them how far each is from it.

(() => {
  const plot = byId("plot");
  if (!plot) return;
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const MARKERS = ["circle", "square", "diamond", "triangle-up", "x", "cross"];
  const MARKED = 9; // markers on each curve; those of the next one lie between them
  const QUANTITIES = ["cost", "mean cost", "gradient norm", "validation cost", "learning rate"];
  const MEASURES = ["position", "value", "error", "floor", "allowance"];
  const BUTTONS = [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const NOT_FINITE = "not finite";
  const FEW = 12; // positions of which each has its tick
  const narrow = matchMedia("(max-width: 40rem)"); // no room for a box beside the pointer, nor for buttons
  const selects = { recipe: byId("recipe"), dtype: byId("dtype"), quantity: byId("quantity"), axis: byId("axis") };
  const oracle = report.curveNames.length - 1;
  const decoded = new Map();

  /** The curves of a recipe, their numbers unpacked once. */
  function curvesOf(recipe) {
    if (!decoded.has(recipe)) {
      const { series, numbers } = report.curves[recipe];
      const bytes = Uint8Array.from(atob(numbers), (letter) => letter.charCodeAt(0));
      const all = new Float64Array(bytes.buffer);
      decoded.set(recipe, series.map(([name, dtype, unit, quantity, length, ...offsets]) => {
        const measured = offsets.map((from) => (from < 0 ? new Float64Array(length).fill(NaN) : all.subarray(from, from + length)));
        return { name, dtype: report.dtypes[dtype], unit, quantity, ...Object.fromEntries(MEASURES.map((key, i) => [key, measured[i]])) };
      }));
    }
    return decoded.get(recipe);
  }

  const order = (quantity) => (QUANTITIES.indexOf(quantity) + QUANTITIES.length + 1) % (QUANTITIES.length + 1);
  const distinct = (values) => [...new Set(values)];
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const digits = (dtype) => (dtype === "float64" ? 17 : 9);

  // What is drawn: the oracle and the implementations, each with its difference to the oracle.
  function chosenCurves() {
    const { recipe, dtype, quantity } = selects;
    const curves = curvesOf(recipe.value).filter((curve) => curve.dtype === dtype.value && curve.quantity === quantity.value);
    const reference = curves.find((curve) => curve.name === oracle);
    const judged = curves.some((curve) => curve.name !== oracle && curve.error.some((error) => !Number.isNaN(error)));
    const at = new Map(reference ? Array.from(reference.position, (position, i) => [position, reference.value[i]]) : []);
    const compared = curves.filter((curve) => curve.name !== oracle).sort((a, b) => a.name - b.name);
    for (const curve of compared) {
      curve.oracle = Array.from(curve.position, (position) => at.get(position) ?? NaN);
      curve.difference = Array.from(judged ? curve.error : relative(curve));
    }
    return { reference, compared, judged, unit: curves[0]?.unit ?? "step" };
  }

  function relative(curve) {
    return curve.oracle.map((expected, i) => {
      const difference = Math.abs(curve.value[i] - expected);
      return difference === 0 ? 0 : difference / Math.abs(expected);
    });
  }

  /** The decades that the lower axis shows; a difference of 0 lies on the first, one that is not finite on the last. */
  function decades(compared, bands) {
    const logs = [...compared.flatMap((curve) => curve.difference), ...bands].filter((x) => x > 0 && Number.isFinite(x)).map(Math.log10);
    if (!logs.length) return [-18, -14];
    const [low, high] = logs.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
    return [Math.floor(low) - 1, Math.ceil(high) + 1];
  }

  function style(place, count) {
    const colours = theme.colour("series").split(",").map((colour) => colour.trim());
    return {
      colour: colours[place % colours.length], dash: DASHES[(place + Math.floor(place / colours.length)) % DASHES.length],
      marker: MARKERS[place % MARKERS.length], width: 1.5 + 0.9 * (count - 1 - Math.min(place, count - 1)),
    };
  }

  /** Sizes of the markers: every so many points one, elsewhere none. */
  function marks(length, place, count, size = 8) {
    const stride = Math.max(1, Math.floor(length / MARKED));
    const first = Math.floor((place * stride) / count);
    return Array.from({ length }, (_, i) => (i % stride === first % stride ? size : 0));
  }

  function traces({ reference, compared, judged, unit }, [low, high]) {
    const drawn = [];
    if (reference) {
      drawn.push({
        x: Array.from(reference.position), y: Array.from(reference.value), name: "oracle", mode: "lines",
        line: { color: theme.colour("oracle-line"), width: 10 }, hovertemplate: "oracle %{customdata}<extra></extra>",
        customdata: Array.from(reference.value, (value) => read(value, digits(selects.dtype.value))),
      });
      if (judged) drawn.push(...bands(reference, low));
    }
    compared.forEach((curve, place) => {
      const name = report.curveNames[curve.name];
      const shape = style(curve.name, report.curveNames.length - 1);
      const common = {
        x: Array.from(curve.position), name: escaped(name), legendgroup: String(curve.name), mode: "lines+markers",
        line: { color: shape.colour, dash: shape.dash, width: shape.width },
        customdata: hover(curve, judged), hovertemplate: "%{customdata}<extra></extra>", meta: "in full",
      };
      const marker = { symbol: shape.marker, color: shape.colour, size: marks(curve.position.length, place, compared.length), line: { width: 0 } };
      drawn.push({ ...common, y: Array.from(curve.value), marker });
      drawn.push({ ...common, ...below(curve, marker, low, high), yaxis: "y2", showlegend: false });
    });
    if (unit === "epoch") for (const trace of drawn) if (trace.x.length === 1) trace.mode = "markers";
    if (narrow.matches) for (const trace of drawn) Object.assign(trace, { hovertemplate: "", hoverinfo: trace.hoverinfo ?? "none" });
    return drawn;
  }

  /** Differences on the axis; those that cannot be on a logarithmic one are at its edges, with signs of their own. */
  function below(curve, marker, low, high) {
    const exact = curve.difference.map((difference) => difference === 0);
    const beyond = curve.difference.map((difference, i) => difference === Infinity || (Number.isNaN(difference) && !Number.isFinite(curve.value[i])));
    return {
      y: curve.difference.map((difference, i) => (exact[i] ? 10 ** low : beyond[i] ? 10 ** high : difference)),
      marker: {
        ...marker,
        symbol: curve.difference.map((_, i) => (exact[i] ? `${marker.symbol}-open` : beyond[i] ? "x-thin" : marker.symbol)),
        size: curve.difference.map((_, i) => (beyond[i] ? 10 : exact[i] ? Math.max(5, marker.size[i]) : marker.size[i])),
        line: { width: curve.difference.map((_, i) => (exact[i] || beyond[i] ? 1.2 : 0)), color: marker.color },
      },
    };
  }

  function bands(reference, low) {
    const x = Array.from(reference.position);
    const lift = (values) => Array.from(values, (value) => (value === 0 ? 10 ** low : value));
    const band = (name, y, colour, line) => ({
      x, y, name, mode: "lines", yaxis: "y2", fill: "tonexty", fillcolor: colour, line,
      customdata: Array.from(y, (value) => read(value)), hovertemplate: `${name} %{customdata}<extra></extra>`,
    });
    return [
      { x, y: x.map(() => 10 ** low), mode: "lines", yaxis: "y2", line: { width: 0 }, hoverinfo: "skip", showlegend: false },
      band("floor", lift(reference.floor), theme.colour("floor"), { width: 0 }),
      band("allowance", lift(reference.allowance), theme.colour("allowed"), { width: 1.5, color: theme.colour("soft") }),
    ];
  }

  function hover(curve, judged) {
    const name = escaped(report.curveNames[curve.name]);
    return curve.difference.map((difference, i) => {
      const value = read(curve.value[i], digits(curve.dtype));
      const allowance = curve.allowance[i];
      const of = judged && allowance > 0 ? `, ${readShare(difference / allowance)}${difference > allowance ? "" : " of"} the allowance ${read(allowance)}` : "";
      const told = difference === 0 ? "equal to the last bit" : Number.isNaN(difference) ? "no error is defined" : `error ${read(difference)}${of}`;
      return `${name}: ${escaped(curve.quantity)} ${value || NOT_FINITE}, ${told}`;
    });
  }

  /** Where what never changes is shown: on an axis from 0. */
  function axisOf(values) {
    const finite = values.filter(Number.isFinite);
    const [value] = finite;
    if (selects.axis.value === "log" || !finite.length || finite.some((other) => other !== value)) return {};
    if (selects.quantity.value.includes("accuracy")) return { range: [0, 105] };
    return { range: value > 0 ? [0, 1.25 * value] : value < 0 ? [1.25 * value, 0] : [0, 1] };
  }

  /** Whole positions; a single one on an axis from 0. */
  function axisAlong(positions) {
    const [first, last] = [positions[0], positions.at(-1)];
    const pad = Math.max(0.5, 0.015 * (last - first));
    const from = first === last ? Math.min(0, first) - pad : first - pad;
    return { range: [from, last + pad], tickformat: "d", ...(last - from <= FEW ? { dtick: 1, tick0: 0 } : {}) };
  }

  function layout(unit, judged, [low, high], positions, values) {
    const [ink, soft, line, paper] = ["ink", "soft", "line", "paper"].map((name) => theme.colour(name));
    const axis = { gridcolor: line, linecolor: soft, zeroline: false, tickfont: { color: soft }, title: { font: { color: soft, size: 12 } }, automargin: true };
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => low + i);
    const stride = Math.ceil(ticks.length / 9);
    const shown = ticks.filter((power, i) => i === 0 || (i % stride === 0 && power < high) || power === high);
    const difference = judged ? "error" : "relative difference";
    return {
      height: 640, margin: { l: 72, r: 12, t: 8, b: 44 }, paper_bgcolor: paper, plot_bgcolor: paper, hovermode: narrow.matches ? "x" : "x unified", hoverdistance: -1,
      font: { family: "system-ui, sans-serif", size: 12, color: ink }, hoverlabel: { bgcolor: paper, bordercolor: soft, font: { color: ink } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      xaxis: { ...axis, title: { ...axis.title, text: unit }, anchor: "y2", ...axisAlong(positions), hoverformat: "d", unifiedhovertitle: { text: `${unit} %{x}` } },
      yaxis: { ...axis, domain: [0.53, 1], type: selects.axis.value, title: { ...axis.title, text: escaped(selects.quantity.value) }, exponentformat: "power", ...axisOf(values) },
      yaxis2: {
        ...axis, domain: [0, 0.47], type: "log", range: [low - 0.15, high + 0.15], title: { ...axis.title, text: `${difference} (log)` },
        tickvals: shown.map((power) => 10 ** power), ticktext: shown.map((power) => (power === low ? "0" : power === high ? NOT_FINITE : `10<sup>${power}</sup>`)),
      },
    };
  }

  // The same in words and numbers.
  function tell({ compared, judged, unit }) {
    const told = compared.filter((curve) => curve.difference.length);
    const share = ["largest share of the allowance", `at ${unit}`, "allowance there", "verdict"];
    const error = [judged ? "largest error" : "largest difference", `at ${unit}`];
    const head = ["implementation", "last value", ...error, ...(judged ? share : []), "equal to the last bit"];
    byId("plot-numbers").tHead.replaceChildren(tableRow(head, "th"));
    byId("plot-numbers").tBodies[0].replaceChildren(...told.map((curve) => tableRow(numbersOf(curve, judged))));
    byId("plot-lacking").replaceChildren(...lacking(compared).map((text) => element("li", {}, text)));
    const exact = compared.some((curve) => curve.difference.includes(0));
    byId("plot-told").textContent = [
      `${selects.quantity.value} of ${selects.recipe.value} in ${selects.dtype.value}.`,
      judged ? "" : "It has no allowance of its own; below is the difference relative to the oracle's value.",
      exact ? "Points at the lower edge, marked 0, are equal to the last bit: a difference of 0 has no place on a logarithmic axis." : "",
      told.length ? "" : "No implementation has it.",
    ].filter(Boolean).join(" ");
  }

  /** Why implementations have no curve here. */
  function lacking(compared) {
    const [recipe, dtype] = [report.recipes.indexOf(selects.recipe.value), report.dtypes.indexOf(selects.dtype.value)];
    const [groups, check] = [report.groups, report.checks.indexOf("free_running")];
    return report.implementations.flatMap((name, place) => {
      if (compared.some((curve) => curve.name === place)) return [];
      const at = groups.recipe.findIndex((each, i) => each === recipe && groups.implementation[i] === place
        && groups.dtype[i] === dtype && groups.check[i] === check && report.severity[groups.verdict[i]] !== "pass");
      if (at < 0) return [`${name} has no such curve.`];
      const verdict = report.severity[groups.verdict[at]];
      const why = report.strings[groups.cause[at]];
      return [`${name} has no such curve: ${verdict === "unsupported" ? "not offered" : verdict}${why ? `: ${why}` : ""}.`];
    });
  }

  /** The verdict of a curve; those that pass are not listed. */
  function verdictOf(curve) {
    const place = [report.recipes.indexOf(selects.recipe.value), curve.name, report.dtypes.indexOf(curve.dtype)];
    const found = report.curveVerdicts.find((row) => place.every((value, i) => row[i] === value) && report.strings[row[4]] === curve.quantity);
    const name = found ? report.severity[found[3]] : "pass";
    return element("span", { class: `v-${name}` }, `${report.symbols[name]} ${name}`);
  }

  /** The place of what is largest; a value that is not finite, where the oracle's is, is larger than all. */
  function placeOfLargest(curve, size) {
    const sizeAt = (i) => (!Number.isFinite(curve.value[i]) && Number.isFinite(curve.oracle[i]) ? Infinity : size(i));
    return curve.difference.reduce((best, _, i) => (sizeAt(i) > sizeAt(best) || Number.isNaN(sizeAt(best)) ? i : best), 0);
  }

  function numbersOf(curve, judged) {
    const { colour, dash } = style(curve.name, 1);
    const line = { solid: "solid", dot: "dotted" }[dash] ?? "dashed";
    const swatch = element("span", { class: "swatch", style: `border-color:${colour};border-top-style:${line}`, "aria-hidden": "true" });
    const name = element("span", {}, swatch, report.curveNames[curve.name]);
    const last = curve.value[curve.value.length - 1];
    const equal = curve.difference.filter((difference) => difference === 0).length;
    const shareAt = (i) => (curve.allowance[i] > 0 ? curve.difference[i] / curve.allowance[i] : NaN);
    const [largest, nearest] = [placeOfLargest(curve, (i) => curve.difference[i]), placeOfLargest(curve, shareAt)];
    const share = [readShare(shareAt(nearest)), curve.position[nearest], curve.allowance[nearest], verdictOf(curve)];
    return [
      name, element("span", { class: "digits" }, read(last, digits(curve.dtype)) || NOT_FINITE), curve.difference[largest],
      curve.position[largest], ...(judged ? share : []), `${equal} of ${curve.difference.length}`,
    ];
  }

  function draw() {
    const curves = chosenCurves();
    const limits = decades(curves.compared, curves.judged && curves.reference ? [...curves.reference.floor, ...curves.reference.allowance] : []);
    const config = { displaylogo: false, responsive: true, modeBarButtons: BUTTONS, displayModeBar: narrow.matches ? false : "hover" };
    const positions = [curves.reference, ...curves.compared].filter(Boolean).flatMap((curve) => Array.from(curve.position)).sort((a, b) => a - b);
    const values = [curves.reference, ...curves.compared].filter(Boolean).flatMap((curve) => Array.from(curve.value));
    Plotly.react(plot, traces(curves, limits), layout(curves.unit, curves.judged, limits, positions, values), config);
    byId("plot-at").replaceChildren();
    plot.removeAllListeners("plotly_hover");
    plot.on("plotly_hover", ({ points }) => tellAt(points, curves.unit));
    tell(curves);
  }

  const unescaped = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  /** On a narrow screen, what is at the pointer stands below the plot. */
  function tellAt(points, unit) {
    if (!narrow.matches || !points.length) return;
    const lines = points.filter(({ customdata }) => customdata !== undefined).map(
      ({ data, customdata }) => (data.meta ? unescaped(customdata) : `${data.name} ${customdata}`),
    );
    byId("plot-at").replaceChildren(...[`${unit} ${points[0].x}`, ...distinct(lines)].map((line) => element("li", {}, line)));
  }

  // The choice.
  function offer(select, values, wanted, label = (value) => value) {
    select.replaceChildren(...values.map((value) => element("option", { value }, label(value))));
    select.value = values.includes(wanted) ? wanted : values[0] ?? "";
  }

  function offerRecipes(wanted) {
    const rows = new Map(report.recipes.map((recipe, row) => [recipe, row]));
    const gravest = (recipe) => Math.min(...(report.cells[rows.get(recipe)] ?? []).map(([[verdict]]) => verdict).filter((verdict) => verdict >= 0));
    const sign = (recipe) => (report.failing.includes(report.severity[gravest(recipe)]) ? `${report.symbols[report.severity[gravest(recipe)]]} ` : "");
    offer(selects.recipe, Object.keys(report.curves), wanted, (recipe) => sign(recipe) + recipe);
  }

  function offerTheRest(dtype, quantity) {
    const curves = curvesOf(selects.recipe.value);
    offer(selects.dtype, report.dtypes.filter((name) => curves.some((curve) => curve.dtype === name)), dtype);
    const own = curves.filter((curve) => curve.dtype === selects.dtype.value);
    offer(selects.quantity, distinct(own.map((curve) => curve.quantity)).sort((a, b) => order(a) - order(b)), quantity);
  }

  const chosen = () => Object.fromEntries(Object.entries(selects).map(([name, select]) => [name, select.value]));
  byId("choice").addEventListener("submit", (event) => event.preventDefault());
  byId("choice").addEventListener("input", () => {
    offerTheRest(selects.dtype.value, selects.quantity.value);
    draw();
    state.set(chosen());
  });
  state.follow(() => {
    offerRecipes(state.get("recipe") || report.start.recipe);
    const given = selects.recipe.value === report.start.recipe ? report.start.dtype : "";
    offerTheRest(state.get("dtype") || given, state.get("quantity") || "cost");
    selects.axis.value = state.get("axis") === "log" ? "log" : "linear";
    draw();
  });
  theme.listeners.push(draw);
  narrow.addEventListener("change", draw);
})();
scrollToState();
