import { Problem } from "./api.js";
import { bringIntoView, el } from "./dom.js";
import { renderEffects } from "./effects.js";
import { renderHeatmap } from "./heatmap.js";
import { inLanguage, say, t } from "./i18n.js";
import { renderProblem } from "./problem.js";

/**
 * Why it was answered so: a button, then an explanation of each prediction. `ask()` gives the answer again, explained;
 * `replaced` is told when another version gave it. `pictures()` are those that were sent, in their order. `signal` ends the waiting.
 */
export function renderWhy(answer, card, { pictures, ask, replaced, signal }) {
  const label = el("span");
  const button = el("button", { type: "button", class: "quiet" }, el("span", { class: "spinner", "aria-hidden": "true" }), label);
  const problems = el("div", { class: "problems" });
  const place = el("section", { class: "why", "aria-label": () => t("why"), "aria-live": "off" }, button, problems);
  let waiting = false;

  function wait(on) {
    waiting = on;
    // Not disabled: that would lose the focus.
    button.setAttribute("aria-disabled", String(on));
    button.classList.toggle("waiting", on);
    place.setAttribute("aria-busy", String(on));
    say(label, () => t(on ? "whyWaiting" : "why"));
  }

  function show(explained) {
    const shown = pictures();
    const parts = explained.predictions.map((prediction, which) => renderExplanation(prediction, card, shown[which]));
    const focused = place.contains(document.activeElement);
    place.replaceChildren(...parts);
    if (focused) parts[0].querySelector("h4").focus({ preventScroll: true });
    bringIntoView(place);
  }

  function complain(problem) {
    if (!(problem instanceof Problem)) throw problem;
    // The same input was usable a moment ago, so that it is the explanation that can't be had.
    if (problem.status === 422 && problem.errors.length === 0) problem.words = () => t("whyNot");
    const box = renderProblem(problem, { retry: explain });
    problems.replaceChildren(box);
    box.focus();
  }

  async function explain() {
    if (waiting) return;
    if (problems.contains(document.activeElement)) button.focus();
    problems.replaceChildren();
    wait(true);
    let outcome;
    try {
      const explained = await ask();
      const another = explained.model.version !== answer.model.version;
      if (!another && !isExplained(explained)) throw new Problem("here", { words: () => t("whyNot") });
      outcome = () => (another ? replaced(explained) : show(explained));
    } catch (error) {
      outcome = () => complain(error);
    }
    if (signal.aborted) return;
    wait(false);
    outcome();
  }

  button.addEventListener("click", explain);
  wait(false);
  if (isExplained(answer)) show(answer);
  return place;
}

const RENDER = {
  heatmap: (explanation, title, card, picture) => renderHeatmap(explanation, title, picture),
  effects: (explanation, title, card) => renderEffects(explanation, title, card.input.schema.properties),
};

const isExplained = (answer) => answer.predictions.every(({ explanation }) => explanation?.kind in RENDER);

function renderExplanation({ label, title, explanation }, card, picture) {
  const about = explanation.label === label ? title : card.labels.find(({ value }) => value === explanation.label);
  const words = () => inLanguage(about ?? { en: explanation.label });
  return el("article", { class: "explanation" },
    el("h4", { tabindex: "-1" }, () => t("whyTitle", { title: words() })),
    RENDER[explanation.kind](explanation, words, card, picture));
}
