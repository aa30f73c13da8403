import { el } from "./dom.js";
import { date, inLanguage, number, percent, t } from "./i18n.js";

/** The model card: one line, and the rest in a <details>. */
export function renderCard(card) {
  const { metrics } = card;
  return el("section", { class: "card", "aria-labelledby": "card-title" },
    el("div", { class: "card-head" },
      el("h2", { id: "card-title" }, () => inLanguage(card.title)),
      card.made_up ? el("span", { class: "made-up", title: () => t("madeUpMeans") }, () => t("madeUp")) : null),
    card.stale_since ? el("p", { class: "stale" }, () => t("stale", { date: date(card.stale_since) })) : null,
    el("dl", { class: "facts" },
      fact("version", () => card.model.version),
      fact("examples", () => number(card.examples)),
      fact("trained", () => date(card.trained_at)),
      measure("accuracy", metrics.accuracy, percent),
      measure("macroF1", metrics.macro_f1, percent)),
    el("details", {},
      el("summary", {}, () => t("more")),
      card.made_up ? el("p", {}, () => t("madeUpMeans")) : null,
      el("p", {}, () => t("measured", { n: number(metrics.holdout_size) })),
      perClass(card),
      el("dl", { class: "facts small" },
        measure("logLoss", metrics.log_loss, number),
        measure("calibration", metrics.calibration_error, number),
        measure("calibrationIdeal", metrics.calibration_error_ideal, number),
        fact("sureFrom", () => (card.thresholds.sure < 1 ? percent(card.thresholds.sure) : t("sureNever"))),
        card.thresholds.error === undefined ? null : fact("sureErrorStated", () => percent(card.thresholds.error)),
        measure("sureError", metrics.sure_error, percent),
        measure("sureShare", metrics.sure_share, percent),
        measure("unknownShare", metrics.unknown_share, percent),
        fact("snapshot", () => card.snapshot.slice(0, 12)))));
}

const fact = (key, words) => el("div", {}, el("dt", {}, () => t(key)), el("dd", {}, words));

const between = (interval, write) => `(${t("interval", { low: write(interval.low), high: write(interval.high) })})`;

/** Nothing where an older version did not tell it. */
function measure(key, interval, write) {
  if (interval === undefined) return null;
  return el("div", { class: "measure" },
    el("dt", {}, () => t(key)),
    el("dd", {}, () => write(interval.value), el("small", {}, () => between(interval, write))));
}

function perClass(card) {
  const titles = new Map(card.labels.map((label) => [label.value, label]));
  const heads = ["label", "support", "precision", "recall"].map((key) => el("th", { scope: "col" }, () => t(key)));
  const rows = card.per_class.map((row) => el("tr", {},
    el("th", { scope: "row" }, () => inLanguage(titles.get(row.label) ?? { en: row.label })),
    el("td", {}, () => number(row.support)),
    ...[row.precision, row.recall].map((interval) =>
      el("td", {}, () => percent(interval.value), el("small", {}, () => between(interval, percent))))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": () => t("more") },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
}
