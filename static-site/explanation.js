import { Problem } from "./api.js";
import { el, scrollIntoView } from "./dom.js";
import { renderFeatureEffects } from "./feature-effects.js";
import { renderHeatmap } from "./heatmap.js";
import { inCurrentLanguage, localize, t } from "./language.js";
import { renderProblem } from "./problem.js";

/**
 * A "Why?" button, replaced by an explanation of each prediction once it is pressed.
 * `requestExplanation()` returns the answer again with explanations. If another version gave it, `onOtherVersion` gets it.
 * `pictures()` returns the pictures sent, in order. `signal` discards an explanation that arrives too late.
 */
export function renderExplanationSection(answer, card, { pictures, requestExplanation, onOtherVersion, signal }) {
  const buttonText = el("span");
  const button = el("button", { type: "button", class: "secondary" }, el("span", { class: "spinner", "aria-hidden": "true" }), buttonText);
  const problems = el("div", { class: "problems" });
  const section = el("section", { class: "explanation-section", "aria-label": () => t("why"), "aria-live": "off" }, button, problems);
  let busy = false;

  function setBusy(on) {
    busy = on;
    button.setAttribute("aria-disabled", String(on)); // `disabled` would lose the focus
    button.classList.toggle("busy", on);
    section.setAttribute("aria-busy", String(on));
    localize(buttonText, () => t(on ? "explaining" : "why"));
  }

  function showExplanations(explained) {
    const shownPictures = pictures();
    const explanations = explained.predictions.map((prediction, index) => renderExplanation(prediction, card, shownPictures[index]));
    const hadFocus = section.contains(document.activeElement);
    section.replaceChildren(...explanations);
    if (hadFocus) explanations[0].querySelector("h4").focus({ preventScroll: true });
    scrollIntoView(section);
  }

  function showProblem(problem) {
    if (!(problem instanceof Problem)) throw problem;
    // The same input was classified before, so a 422 means that this version has no explanations.
    if (problem.status === 422 && problem.errors.length === 0) problem.text = () => t("noExplanation");
    const box = renderProblem(problem, { retry: explain });
    problems.replaceChildren(box);
    box.focus();
  }

  async function explain() {
    if (busy) return;
    if (problems.contains(document.activeElement)) button.focus();
    problems.replaceChildren();
    setBusy(true);
    let showOutcome;
    try {
      const explained = await requestExplanation();
      const isOtherVersion = explained.model.version !== answer.model.version;
      if (!isOtherVersion && !isExplained(explained)) throw new Problem("page", { text: () => t("noExplanation") });
      showOutcome = () => (isOtherVersion ? onOtherVersion(explained) : showExplanations(explained));
    } catch (error) {
      showOutcome = () => showProblem(error);
    }
    if (signal.aborted) return;
    setBusy(false);
    showOutcome();
  }

  button.addEventListener("click", explain);
  setBusy(false);
  if (isExplained(answer)) showExplanations(answer);
  return section;
}

const RENDERERS = {
  heatmap: (explanation, title, card, picture) => renderHeatmap(explanation, title, picture),
  effects: (explanation, title, card) => renderFeatureEffects(explanation, title, card.input.schema.properties),
};

const isExplained = (answer) => answer.predictions.every(({ explanation }) => explanation?.kind in RENDERERS);

function renderExplanation({ label, title, explanation }, card, picture) {
  const explainedTitle = explanation.label === label ? title : card.labels.find(({ value }) => value === explanation.label);
  const titleText = () => inCurrentLanguage(explainedTitle ?? { en: explanation.label });
  return el("article", { class: "explanation" },
    el("h4", { tabindex: "-1" }, () => t("whyTitle", { title: titleText() })),
    RENDERERS[explanation.kind](explanation, titleText, card, picture));
}
