import { el } from "./dom.js";
import { formatPercent, inCurrentLanguage, t } from "./language.js";

/** The answer of classify: its predictions, a note if the model learned from made-up data, and `explanation`. */
export function renderAnswer(answer, card, explanation) {
  const titles = new Map(card.labels.map((label) => [label.value, label]));
  return el("div", { class: "answer" },
    ...answer.predictions.map((prediction) => renderPrediction(prediction, titles)),
    card.made_up ? el("p", { class: "data-note" }, () => t(card.kind === "image" ? "drawingsOnly" : "madeUpMeaning")) : null,
    explanation,
    el("p", { class: "answer-source" },
      el("span", {}, () => t("byModel", answer.model)),
      el("small", {}, () => t("request", { id: answer.request_id }))));
}

function renderPrediction(prediction, titles) {
  const { status } = prediction;
  return el("article", { class: `prediction ${status}` },
    el("p", { class: "lead" }, () => t(`${status}Lead`)),
    el("h3", { class: "label" }, () => inCurrentLanguage(prediction.title)),
    el("p", { class: "verdict" },
      el("strong", { class: "status" }, () => t(status)),
      el("span", { class: "confidence" }, el("b", {}, () => formatPercent(prediction.confidence)), " ", () => t("confidence"))),
    el("p", { class: "status-meaning" }, () => t(`${status}Meaning`)),
    el("h4", {}, () => t("allProbabilities")),
    el("ol", { class: "bars" }, ...renderBars(prediction, titles)));
}

function renderBars({ probabilities, label }, titles) {
  return Object.entries(probabilities)
    .sort(([, a], [, b]) => b - a)
    .map(([value, probability]) => {
      const fill = el("span", { class: "fill" });
      fill.style.width = `${probability * 100}%`;
      return el("li", { class: value === label ? "chosen" : null },
        el("span", {}, () => inCurrentLanguage(titles.get(value) ?? { en: value })),
        el("span", { class: "bar-value" }, () => formatPercent(probability)),
        el("span", { class: "bar", "aria-hidden": "true" }, fill));
    });
}
