import { say } from "./i18n.js";

/**
 * An element with attributes and children. A child is a node, a string (always text, never markup) or a function:
 * words that follow the chosen language. Attributes may be functions too; null and false leave one out.
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") say(element, value, name);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null) continue;
    if (typeof child !== "function") element.append(child);
    else if (children.length === 1) say(element, child);
    else element.append(el("span", {}, child));
  }
  return element;
}

/** Scroll as little as shows all of it, or its top. */
export function bringIntoView(element) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}
