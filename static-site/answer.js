import { el } from "./dom.js";
import { inLanguage, percent, t } from "./i18n.js";

/** What classify answered: for each prediction its label, status, confidence and the bars of all probabilities; what it rests on if that was made up; then `why`. */
export function renderAnswer(answer, card, why) {
  const titles = new Map(card.labels.map((label) => [label.value, label]));
  return el("div", { class: "answer" },
    ...answer.predictions.map((prediction) => renderPrediction(prediction, titles)),
    card.made_up ? el("p", { class: "seen-only" }, () => t(card.kind === "image" ? "drawingsOnly" : "madeUpMeans")) : null,
    why,
    el("p", { class: "origin" },
      el("span", {}, () => t("byModel", answer.model)),
      el("small", {}, () => t("request", { id: answer.request_id }))));
}

function renderPrediction(prediction, titles) {
  const { status } = prediction;
  return el("article", { class: `prediction ${status}` },
    el("p", { class: "lead" }, () => t(`${status}Lead`)),
    el("h3", { class: "label" }, () => inLanguage(prediction.title)),
    el("p", { class: "verdict" },
      el("strong", { class: "status" }, () => t(status)),
      el("span", { class: "confidence" }, el("b", {}, () => percent(prediction.confidence)), " ", () => t("confidence"))),
    el("p", { class: "means" }, () => t(`${status}Means`)),
    el("h4", {}, () => t("allProbabilities")),
    el("ol", { class: "bars" }, ...bars(prediction, titles)));
}

function bars({ probabilities, label }, titles) {
  return Object.entries(probabilities)
    .sort(([, one], [, other]) => other - one)
    .map(([value, share]) => {
      const fill = el("span", { class: "fill" });
      fill.style.width = `${share * 100}%`;
      return el("li", { class: value === label ? "chosen" : null },
        el("span", { class: "bar-name" }, () => inLanguage(titles.get(value) ?? { en: value })),
        el("span", { class: "bar-share" }, () => percent(share)),
        el("span", { class: "bar", "aria-hidden": "true" }, fill));
    });
}
