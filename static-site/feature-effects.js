import { el } from "./dom.js";
import { formatNumber, formatPoints, inCurrentLanguage, t } from "./language.js";

const MIN_SHOWN_EFFECT = 0.005;
// A full bar stands for at least this effect, so that small effects look small.
const MIN_SCALE = 0.1;

/** How much each value of a row adds to the probability of a label: bars from a middle line, largest effect first. */
export function renderFeatureEffects({ effects }, title, columns) {
  if (effects.every(({ value, typical }) => value === typical)) return el("p", {}, () => t("effectsTypical"));
  const shown = effects.filter(({ effect }) => Math.abs(effect) >= MIN_SHOWN_EFFECT);
  const others = effects.filter(({ effect }) => Math.abs(effect) < MIN_SHOWN_EFFECT);
  if (shown.length === 0) return el("p", {}, () => t("effectsNone", { title: title() }));
  shown.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const scale = Math.max(MIN_SCALE, Math.abs(shown[0].effect));
  return el("div", {},
    el("p", { class: "effects-caption" }, () => t("effectsCaption", { title: title() })),
    el("ol", { class: "bars effects" },
      ...shown.map((effect) => renderEffect(effect, columns[effect.column], scale)),
      others.length ? renderOthers(others) : null));
}

/** `schema` of the column; none if the model card no longer has that column. */
function renderEffect({ column, value, typical, effect }, schema = {}, scale) {
  const fill = el("span", { class: effect > 0 ? "fill raises" : "fill lowers" });
  fill.style.width = `${(Math.abs(effect) / scale) * 50}%`;
  return el("li", {},
    el("span", {}, () => inCurrentLanguage(schema["x-title"] ?? { en: column })),
    el("span", { class: "bar-value" }, () => formatPoints(effect)),
    el("span", { class: "bar", "aria-hidden": "true" }, fill),
    el("small", {}, () => t("typical", { value: formatValue(value, schema), typical: formatValue(typical, schema) })));
}

function renderOthers(others) {
  const sum = others.reduce((total, { effect }) => total + effect, 0);
  return el("li", { class: "others" },
    el("span", {}, () => t(others.length === 1 ? "otherEffect" : "otherEffects", { n: formatNumber(others.length) })),
    el("span", { class: "bar-value" }, () => formatPoints(sum)));
}

function formatValue(value, { unit }) {
  const text = typeof value === "number" ? formatNumber(value) : value || "—";
  if (!unit) return text;
  return unit === "°" ? `${text}°` : `${text}\u00a0${unit}`;
}
