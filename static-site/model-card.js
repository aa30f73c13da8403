import { el } from "./dom.js";
import { formatDate, formatNumber, formatPercent, inCurrentLanguage, t } from "./language.js";

/** The main facts in one line, the others in a <details>. */
export function renderModelCard(card) {
  const { metrics } = card;
  return el("section", { class: "model-card", "aria-labelledby": "model-card-title" },
    el("div", { class: "model-card-header" },
      el("h2", { id: "model-card-title" }, () => inCurrentLanguage(card.title)),
      card.made_up ? el("span", { class: "made-up", title: () => t("madeUpMeaning") }, () => t("madeUp")) : null),
    card.stale_since ? el("p", { class: "stale" }, () => t("stale", { date: formatDate(card.stale_since) })) : null,
    el("dl", { class: "facts" },
      fact("version", () => card.model.version),
      fact("examples", () => formatNumber(card.examples)),
      fact("trained", () => formatDate(card.trained_at)),
      metric("accuracy", metrics.accuracy, formatPercent),
      metric("macroF1", metrics.macro_f1, formatPercent)),
    el("details", {},
      el("summary", {}, () => t("more")),
      card.made_up ? el("p", {}, () => t("madeUpMeaning")) : null,
      el("p", {}, () => t("measured", { n: formatNumber(metrics.holdout_size) })),
      perClassTable(card),
      el("dl", { class: "facts small" },
        metric("logLoss", metrics.log_loss, formatNumber),
        metric("calibration", metrics.calibration_error, formatNumber),
        metric("calibrationIdeal", metrics.calibration_error_ideal, formatNumber),
        fact("sureThreshold", () => (card.thresholds.sure < 1 ? formatPercent(card.thresholds.sure) : t("neverSure"))),
        card.thresholds.error === undefined ? null : fact("sureErrorLimit", () => formatPercent(card.thresholds.error)),
        metric("sureError", metrics.sure_error, formatPercent),
        metric("sureShare", metrics.sure_share, formatPercent),
        metric("unknownShare", metrics.unknown_share, formatPercent),
        fact("snapshot", () => card.snapshot.slice(0, 12)))));
}

const fact = (key, text) => el("div", {}, el("dt", {}, () => t(key)), el("dd", {}, text));

const formatInterval = ({ low, high }, format) => `(${t("interval", { low: format(low), high: format(high) })})`;

/** null if the card of an older version lacks this metric. */
function metric(key, interval, format) {
  if (interval === undefined) return null;
  return el("div", {},
    el("dt", {}, () => t(key)),
    el("dd", {}, () => format(interval.value), el("small", {}, () => formatInterval(interval, format))));
}

function perClassTable(card) {
  const titles = new Map(card.labels.map((label) => [label.value, label]));
  const headers = ["label", "support", "precision", "recall"].map((key) => el("th", { scope: "col" }, () => t(key)));
  const rows = card.per_class.map((row) => el("tr", {},
    el("th", { scope: "row" }, () => inCurrentLanguage(titles.get(row.label) ?? { en: row.label })),
    el("td", {}, () => formatNumber(row.support)),
    ...[row.precision, row.recall].map((interval) =>
      el("td", {}, () => formatPercent(interval.value), el("small", {}, () => formatInterval(interval, formatPercent))))));
  return el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": () => t("perClass") },
    el("table", {}, el("thead", {}, el("tr", {}, ...headers)), el("tbody", {}, ...rows)));
}
