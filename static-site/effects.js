import { el } from "./dom.js";
import { inLanguage, number, points, t } from "./i18n.js";

const HALF_A_POINT = 0.005;
// The longest bar stands for this much at least: small effects are not to look large.
const LEAST_SCALE = 0.1;

/** What each value of a row adds to the probability of a label: bars from a middle line, largest first. */
export function renderEffects({ effects }, title, columns) {
  const strong = effects.filter(({ effect }) => Math.abs(effect) >= HALF_A_POINT);
  const weak = effects.filter(({ effect }) => Math.abs(effect) < HALF_A_POINT);
  if (effects.every(({ value, typical }) => value === typical)) return el("p", {}, () => t("effectsTypical"));
  strong.sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect));
  if (strong.length === 0) return el("p", {}, () => t("effectsNone", { title: title() }));
  const scale = Math.max(LEAST_SCALE, Math.abs(strong[0].effect));
  return el("div", {},
    el("p", { class: "effects-caption" }, () => t("effectsCaption", { title: title() })),
    el("ol", { class: "bars effects" },
      ...strong.map((one) => renderEffect(one, columns[one.column], scale)),
      weak.length ? renderOthers(weak) : null));
}

function renderEffect({ column, value, typical, effect }, facts = {}, scale) {
  const write = (one) => valueOf(one, facts);
  const fill = el("span", { class: effect > 0 ? "fill for" : "fill against" });
  fill.style.width = `${(Math.abs(effect) / scale) * 50}%`;
  return el("li", {},
    el("span", { class: "bar-name" }, () => inLanguage(facts.title ?? { en: column })),
    el("span", { class: "bar-share" }, () => points(effect)),
    el("span", { class: "bar", "aria-hidden": "true" }, fill),
    el("small", {}, () => t("typical", { value: write(value), typical: write(typical) })));
}

function renderOthers(weak) {
  const sum = weak.reduce((so_far, { effect }) => so_far + effect, 0);
  return el("li", { class: "others" },
    el("span", { class: "bar-name" }, () => t(weak.length === 1 ? "other" : "others", { n: number(weak.length) })),
    el("span", { class: "bar-share" }, () => points(sum)));
}

function valueOf(value, { unit }) {
  const written = typeof value === "number" ? number(value) : value || "—";
  if (!unit) return written;
  return unit === "°" ? `${written}°` : `${written}\u00a0${unit}`;
}
