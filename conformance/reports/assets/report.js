"use strict";
// What the parts of the page have in common: its data, its state in the address, the theme, and what is copied.

const report = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** A number of the data: null is none, "inf" an infinite one. */
const asNumber = (value) => (value === "inf" ? Infinity : value === null ? NaN : value);

/** A number as it is read, with so many digits. */
function read(value, digits = 3) {
  if (Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return String(value);
  const short = size !== 0 && (size < 1e-4 || size >= 1e15) ? value.toExponential(digits - 1) : value.toPrecision(digits);
  return short.includes("e") ? short.replace(/\.?0*e/, "e") : String(Number(short));
}

/** An error as a share of its allowance: in per cent up to it, in multiples beyond. */
function readShare(ratio) {
  if (Number.isNaN(ratio)) return "";
  if (ratio > 1) return Number.isFinite(ratio) ? `${read(ratio, 2)} times` : "infinitely many times";
  return ratio > 0 && ratio < 0.001 ? "under 0.1 %" : `${read(100 * ratio, 2)} %`;
}

/** An element with attributes and children; texts are set as texts, so that no name can be markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A row of cells: numbers stand to the right. */
function tableRow(values, cell = "td") {
  const row = element("tr");
  values.forEach((value, place) => {
    const head = cell === "th" || place === 0;
    const made = element(head ? "th" : "td", head ? { scope: cell === "th" ? "col" : "row" } : {});
    if (typeof value === "number") made.className = "number";
    made.append(typeof value === "number" ? read(value) : value);
    row.append(made);
  });
  return row;
}

/** Say of a table that is wider than its place that it goes on, as long as there is more to the right. */
function watchWidth(place) {
  const look = () => {
    place.classList.toggle("wide", place.scrollWidth > place.clientWidth + 1);
    place.classList.toggle("more", place.scrollLeft + place.clientWidth < place.scrollWidth - 1);
  };
  const watch = new ResizeObserver(() => requestAnimationFrame(look));
  for (const each of [place, ...place.children]) watch.observe(each);
  place.addEventListener("scroll", look, { passive: true });
}
document.querySelectorAll(".scroll").forEach(watchWidth);

// The state: what is chosen stands in the address, "#recipe=...&dtype=...", so that it can be sent to others.
const state = {
  values: {},
  listeners: [],

  read() {
    const hash = location.hash.slice(1);
    this.values = hash.includes("=") ? Object.fromEntries(new URLSearchParams(hash)) : {};
  },

  get(name) {
    return this.values[name] ?? "";
  },

  /** Change some values; an empty one is left out. */
  set(changes) {
    Object.assign(this.values, changes);
    const kept = Object.entries(this.values).filter(([, value]) => value !== "");
    this.values = Object.fromEntries(kept);
    const hash = new URLSearchParams(kept).toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  },

  /** Call back now, and whenever the address changes. */
  follow(listener) {
    this.listeners.push(listener);
    listener();
  },
};
state.read();
addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // the anchor of a section
  state.read();
  for (const listener of state.listeners) listener();
  scrollToState();
});

/** Where a link with a state leads: to the curves of its recipe, else to the matrix. */
function scrollToState() {
  if (location.hash.includes("=")) (byId(state.get("recipe") ? "curves" : "matrix") ?? document.body).scrollIntoView();
}

// The theme follows the system until the switch is used; paper is light.
const theme = {
  root: document.documentElement,
  listeners: [],
  chosen: "",
  system: matchMedia("(prefers-color-scheme: dark)"),

  get current() {
    return this.chosen || (this.system.matches ? "dark" : "light");
  },

  show(name = this.current) {
    this.root.dataset.theme = name;
    byId("theme").textContent = name === "dark" ? "Light colours" : "Dark colours";
    for (const listener of this.listeners) listener();
  },

  colour(name) {
    return getComputedStyle(this.root).getPropertyValue(`--${name}`).trim();
  },
};
theme.show();
theme.system.addEventListener("change", () => theme.show());
byId("theme").addEventListener("click", () => {
  theme.chosen = theme.current === "dark" ? "light" : "dark";
  theme.show();
});
addEventListener("beforeprint", () => theme.show("light"));
addEventListener("afterprint", () => theme.show());

// Commands are copied; where that is not allowed, they are selected.
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  const label = button.firstChild;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    label.data = "Copied";
    byId("said").textContent = "Copied";
  } catch {
    const code = button.parentElement.querySelector("code");
    if (code) getSelection().selectAllChildren(code);
    label.data = code ? "Selected" : "Not allowed";
  }
  setTimeout(() => { label.data = "Copy"; }, 2000);
});
