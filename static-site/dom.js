import { localize } from "./language.js";

/**
 * Creates an element. A child is a node, a string (text, never markup) or a function that returns text in the current language.
 * An attribute may be such a function too; null and false leave it out.
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") localize(element, value, name);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null) continue;
    if (typeof child !== "function") element.append(child);
    else if (children.length === 1) localize(element, child);
    else element.append(el("span", {}, child));
  }
  return element;
}

/** Scrolls no further than needed, and smoothly unless the visitor prefers reduced motion. */
export function scrollIntoView(element) {
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "nearest", behavior: reducedMotion ? "auto" : "smooth" });
}
