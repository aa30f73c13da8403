// In which language the page speaks, and how numbers and dates are written in it.

import { WORDS } from "./words.js";

const MEMORY = "sabueso-language";
let current = remembered() ?? (navigator.language.toLowerCase().startsWith("es") ? "es" : "en");

function remembered() {
  try {
    const code = localStorage.getItem(MEMORY);
    return code in WORDS ? code : null;
  } catch {
    return null; // storage may be forbidden: the browser's own language is used
  }
}

/** The sentence `key` in the chosen language, with its {facts} filled in. */
export function t(key, facts = {}) {
  return WORDS[current][key].replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

export const has = (key) => key in WORDS.en;
export const inLanguage = (title) => title[current] ?? title.en;
export const number = (value, digits = 3) => new Intl.NumberFormat(current, { maximumFractionDigits: digits }).format(value);
export const date = (iso) => new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
export const size = (bytes) => (bytes < 1e6 ? `${number(Math.ceil(bytes / 1e3), 0)} kB` : `${number(bytes / 1e6, 1)} MB`);

/** A share of 1 as a percentage; what is not quite certain is never written as 100 %. */
export function percent(share) {
  const format = new Intl.NumberFormat(current, { style: "percent", maximumFractionDigits: 1 });
  return share < 1 && share >= 0.9995 ? `> ${format.format(0.999)}` : format.format(share);
}

/** Several things as one list: "one, other and third". */
export const list = (things) => new Intl.ListFormat(current, { type: "conjunction" }).format(things);

/** A change of a probability in percentage points, always with its sign: +31 points, −2.5 points. */
export function points(change) {
  const digits = Math.abs(change) < 0.1 ? 1 : 0;
  const format = new Intl.NumberFormat(current, {
    signDisplay: "exceptZero", minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
  return t("points", { n: format.format(change * 100).replace("-", "−") });
}

// What each element says, so that a change of language rewrites the page and loses nothing typed in it.
const said = new WeakMap();

/** Make `element` (its text, or one attribute) say `words()` now and after each change of language. */
export function say(element, words, attribute = "textContent") {
  said.set(element, { ...said.get(element), [attribute]: words });
  element.dataset.said = "";
  utter(element, attribute, words);
}

function utter(element, attribute, words) {
  if (attribute === "textContent") element.textContent = words();
  else element.setAttribute(attribute, words());
}

function speak() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-said]")) {
    for (const [attribute, words] of Object.entries(said.get(element))) utter(element, attribute, words);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === current));
  }
}

/** Wire the switch and everything the HTML marks with data-t. */
export function startLanguage() {
  for (const element of document.querySelectorAll("[data-t]")) say(element, () => t(element.dataset.t));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      current = button.dataset.language;
      try {
        localStorage.setItem(MEMORY, current);
      } catch {
        // not remembered, still switched
      }
      speak();
    });
  }
  speak();
}
