// The language of the page, and how numbers and dates are written in it.

import { TRANSLATIONS } from "./translations.js";

const STORAGE_KEY = "sabueso-language";
let current = storedLanguage() ?? (navigator.language.toLowerCase().startsWith("es") ? "es" : "en");

function storedLanguage() {
  try {
    const code = localStorage.getItem(STORAGE_KEY);
    return code in TRANSLATIONS ? code : null;
  } catch {
    return null; // the browser forbids storage
  }
}

/** The text `key` in the current language, with its {placeholders} filled in. */
export function t(key, values = {}) {
  return TRANSLATIONS[current][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const hasText = (key) => key in TRANSLATIONS.en;
/** Picks from a title that comes in both languages: {en, es}. */
export const inCurrentLanguage = (title) => title[current] ?? title.en;
export const formatNumber = (value, digits = 3) => new Intl.NumberFormat(current, { maximumFractionDigits: digits }).format(value);
export const formatDate = (iso) => new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
export const formatSize = (bytes) => (bytes < 1e6 ? `${formatNumber(Math.ceil(bytes / 1e3), 0)}\u00a0kB` : `${formatNumber(bytes / 1e6, 1)}\u00a0MB`);
export const formatList = (items) => new Intl.ListFormat(current, { type: "conjunction" }).format(items);

/** A share of 1 as a percentage. Only 1 itself is written as 100%. */
export function formatPercent(share) {
  const format = new Intl.NumberFormat(current, { style: "percent", maximumFractionDigits: 1 });
  return share < 1 && share >= 0.9995 ? `> ${format.format(0.999)}` : format.format(share);
}

/** A change in probability as signed percentage points: +31 points, −2.5 points. */
export function formatPoints(change) {
  const digits = Math.abs(change) < 0.1 ? 1 : 0;
  const format = new Intl.NumberFormat(current, {
    signDisplay: "exceptZero", minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
  return t("points", { n: format.format(change * 100).replace("-", "−") });
}

// The text functions of each element, by attribute. A language switch calls them again, so no input is lost.
const localized = new WeakMap();

/** Sets the element's text, or one attribute, to `text()` now and after every language switch. */
export function localize(element, text, attribute = "textContent") {
  localized.set(element, { ...localized.get(element), [attribute]: text });
  element.dataset.localized = "";
  setText(element, attribute, text());
}

function setText(element, attribute, text) {
  if (attribute === "textContent") element.textContent = text;
  else element.setAttribute(attribute, text);
}

function updatePage() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-localized]")) {
    for (const [attribute, text] of Object.entries(localized.get(element))) setText(element, attribute, text());
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === current));
  }
}

/** Localizes the elements that have data-text in index.html, and starts the language switch. */
export function startLanguage() {
  for (const element of document.querySelectorAll("[data-text]")) localize(element, () => t(element.dataset.text));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      current = button.dataset.language;
      try {
        localStorage.setItem(STORAGE_KEY, current);
      } catch {
        // the browser forbids storage: the choice lasts until the page is closed
      }
      updatePage();
    });
  }
  updatePage();
}
