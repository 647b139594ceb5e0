"use strict";
// The matrix: its filters, its order, and what is behind a cell.

(() => {
  const table = byId("verdicts");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const filters = {
    search: byId("search"), verdict: byId("verdict-filter"), implementation: byId("implementation-filter"),
    precision: byId("dtype-filter"), order: byId("order"),
  };
  const searched = report.recipes.map((recipe, row) => [recipe, ...report.about[row]].join(" ").toLowerCase());
  const failing = report.failing.reduce((bits, verdict) => bits | bit(verdict), 0);
  const passed = report.severity.length - 1;
  const groups = report.groups;
  const columns = element("style");
  document.head.append(columns);

  function bit(verdict) {
    return 1 << report.severity.indexOf(verdict);
  }

  // The rows of the groups that stand behind each recipe.
  const behind = report.recipes.map(() => []);
  groups.recipe.forEach((recipe, index) => behind[recipe].push(index));

  /** The largest error of a recipe in allowances, of the implementation and precision that are chosen. */
  function margin(row, implementation, dtype) {
    let largest = -1;
    for (const index of behind[row]) {
      if (implementation >= 0 && groups.implementation[index] !== implementation) continue;
      if (dtype >= 0 && groups.dtype[index] !== dtype) continue;
      const ratio = asNumber(groups.error_per_allowance[index]);
      if (ratio > largest) largest = ratio;
    }
    return largest;
  }

  function chosen() {
    return {
      words: filters.search.value.toLowerCase().split(/\s+/).filter(Boolean),
      wanted: filters.verdict.value === "failing" ? failing : filters.verdict.value ? bit(filters.verdict.value) : 0,
      implementation: report.implementations.indexOf(filters.implementation.value),
      dtype: report.dtypes.indexOf(filters.precision.value),
      order: filters.order.value,
    };
  }

  function cellsOf(row, { implementation, dtype }) {
    const cells = report.cells[row];
    return (implementation < 0 ? cells : [cells[implementation]]).map((cell) => cell[dtype + 1]);
  }

  function isShown(row, choice) {
    if (!choice.words.every((word) => searched[row].includes(word))) return false;
    const cells = cellsOf(row, choice);
    return choice.wanted ? cells.some(([, , bits]) => bits & choice.wanted) : cells.some(([verdict]) => verdict >= 0);
  }

  /** A number by which rows are put in order, small ones first; equal ones stay in the order of the run. */
  function rank(row, choice) {
    if (choice.order === "margin") return -margin(row, choice.implementation, choice.dtype);
    const cells = cellsOf(row, choice).filter(([verdict]) => verdict >= 0);
    return Math.min(...cells.map(([verdict, records]) => (verdict === passed ? passed : verdict - records / 1e9)));
  }

  function ordered(places, choice) {
    if (!choice.order) return places;
    const compare = new Intl.Collator("en").compare;
    if (choice.order === "name") return places.sort((a, b) => compare(report.recipes[a], report.recipes[b]));
    const ranks = places.map((row) => rank(row, choice));
    return places.sort((a, b) => ranks[a] - ranks[b]);
  }

  /** What a cell says. */
  function label(button, [verdict, records]) {
    const name = report.severity[verdict];
    const counted = name === "pass" || name === "incomplete" ? "" : ` ${records}`;
    button.className = `cell v-${name}`;
    button.replaceChildren(
      element("span", { class: "sign", "aria-hidden": "true" }, report.symbols[name]), ` ${name}${counted}`,
    );
  }

  let precision = -1;
  function relabel(dtype) {
    if (dtype === precision) return;
    precision = dtype;
    for (const row of rows) {
      for (let column = 1; column < row.cells.length; column += 1) {
        const button = row.cells[column].firstElementChild;
        if (!button) continue;
        const cell = report.cells[row.dataset.row][column - 1][dtype + 1];
        button.hidden = cell[0] < 0;
        if (cell[0] >= 0) label(button, cell);
      }
    }
  }

  let arranged = "";
  /** Put all rows in order, where that is another than the one they are in. */
  function arrange(choice) {
    const wanted = choice.order ? [choice.order, choice.implementation, choice.dtype].join() : "";
    if (wanted !== arranged) body.append(...ordered([...rows.keys()], choice).map((row) => rows[row]));
    arranged = wanted;
  }

  function show() {
    const choice = chosen();
    close();
    relabel(choice.dtype);
    arrange(choice);
    const shown = rows.filter((row, place) => {
      row.hidden = !isShown(place, choice);
      return !row.hidden;
    });
    const others = report.implementations.map((_, i) => i).filter((i) => choice.implementation >= 0 && i !== choice.implementation);
    columns.textContent = others.map((i) => `.matrix .i${i} { display: none; }`).join("\n");
    const of = shown.length === rows.length ? "" : ` of ${rows.length}`;
    const noun = rows.length === 1 ? "recipe" : "recipes";
    byId("shown").textContent = shown.length ? `${shown.length}${of} ${noun}` : `No recipe of ${rows.length} has all of this`;
  }

  // What is behind a cell: one row below it, closed when another cell is opened.
  let opened = null;
  function close() {
    if (!opened) return;
    opened.button.setAttribute("aria-expanded", "false");
    opened.row.remove();
    opened = null;
  }

  function open(button) {
    const row = button.closest("tr");
    const recipe = Number(row.dataset.row);
    const implementation = button.parentElement.cellIndex - 1;
    const inside = element("div", { class: "inside" }, ...told(recipe, implementation));
    const made = element("tr", { class: "behind", id: "behind" }, element("td", { colspan: row.cells.length }, inside));
    row.after(made);
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", "behind");
    opened = { button, row: made };
  }

  function told(recipe, implementation) {
    const about = ["model", "data", "optimizer", "penalties and noise", "initializer", "schedule"];
    const facts = report.about[recipe].map((value, place) => `${about[place]} ${value}`).join(", ");
    const link = element("a", { href: `#${new URLSearchParams({ recipe: report.recipes[recipe] })}` }, "Its curves");
    const title = element("strong", {}, `${report.implementations[implementation]}, ${report.recipes[recipe]}`);
    return [element("p", {}, title, facts ? `: ${facts}. ` : ". ", link), checks(recipe, implementation)];
  }

  function checks(recipe, implementation) {
    const head = element("thead", {}, tableRow(
      ["check", "precision", "verdict", "comparisons", "worst error", "allowance", "share of the allowance", "tensor", "step"], "th",
    ));
    const dtype = report.dtypes.indexOf(filters.precision.value);
    const lines = behind[recipe].filter(
      (index) => groups.implementation[index] === implementation && (dtype < 0 || groups.dtype[index] === dtype),
    );
    const rowsOf = lines.flatMap((index) => withReason(tableRow([
      report.checks[groups.check[index]], report.dtypes[groups.dtype[index]], verdictOf(groups.verdict[index]),
      groups.records[index], asNumber(groups.error[index]), asNumber(groups.allowance[index]),
      readShare(asNumber(groups.error_per_allowance[index])), report.strings[groups.tensor[index]], groups.step[index],
    ]), report.strings[groups.cause[index]]));
    const lacking = report.missing.filter(
      ([r, i, d]) => r === recipe && i === implementation && (dtype < 0 || d === dtype),
    );
    const rowsLacking = lacking.flatMap(([, , d, check]) => withReason(tableRow(
      [report.checks[check], report.dtypes[d], verdictOf(report.severity.indexOf("incomplete")), "", "", "", "", "", ""],
    ), "planned, not done"));
    const made = element("table", { class: "checks" }, head, element("tbody", {}, ...rowsOf, ...rowsLacking));
    const place = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Checks behind the cell" }, made);
    watchWidth(place);
    return place;
  }

  /** A row, and below it in a line of its own the reason, if there is one. */
  function withReason(row, reason) {
    if (!reason) return [row];
    row.className = "told";
    const cell = element("td", { colspan: row.cells.length }, element("span", {}, reason));
    return [row, element("tr", { class: "why" }, cell)];
  }

  function verdictOf(place) {
    const name = report.severity[place];
    return element("span", { class: `v-${name}` }, `${report.symbols[name]} ${name}`);
  }

  body.addEventListener("click", (event) => {
    const button = event.target.closest(".cell");
    if (!button) return;
    const again = opened?.button === button;
    close();
    if (!again) open(button);
  });

  for (const [name, control] of Object.entries(filters)) {
    control.addEventListener("input", () => {
      show();
      state.set({ [name]: control.value });
    });
  }
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(() => {
    show();
    state.set(Object.fromEntries(Object.keys(filters).map((name) => [name, ""])));
  }));
  state.follow(() => {
    for (const [name, control] of Object.entries(filters)) {
      control.value = state.get(name);
      if (control.selectedIndex === -1) control.value = "";
    }
    show();
  });
})();
