import { renderAnswer } from "./answer.js";
import { Problem, classify, explain } from "./api.js";
import { el, scrollIntoView } from "./dom.js";
import { renderExplanationSection } from "./explanation.js";
import { localize, t } from "./language.js";
import { pictureInput } from "./picture-input.js";
import { renderProblem } from "./problem.js";
import { rowInput } from "./row-input.js";

/**
 * Input and answer of one pipeline, side by side. `signal` cancels everything when another pipeline is shown.
 * `onNewVersion` is called when the answer comes from another version than the model card's.
 */
export function renderClassifyPanel(card, signal, onNewVersion) {
  const problems = el("div", { class: "problems" });
  const answerArea = el("div", { "aria-live": "polite", "aria-busy": "false" });
  const buttonText = el("span", {}, () => t("classify"));
  const button = el("button", { type: "submit", class: "submit" }, el("span", { class: "spinner", "aria-hidden": "true" }), buttonText);
  const input = card.kind === "image" ? pictureInput(card, reset, showProblem, signal) : rowInput(card, reset);
  const form = el("form", { novalidate: true, class: "input-panel" },
    el("h2", {}, () => t(card.kind === "image" ? "yourPicture" : "yourRow")),
    problems,
    input.element,
    button);
  let currentCall = null;

  function reset() {
    currentCall?.abort();
    problems.replaceChildren();
    showNote("answerHere");
  }

  function showNote(key) {
    answerArea.replaceChildren(el("p", { class: "muted-note" }, () => t(key)));
  }

  function showProblem(problem) {
    if (!(problem instanceof Problem)) throw problem;
    const otherErrors = input.showErrors(problem.errors);
    const box = renderProblem(problem, { errors: otherErrors, retry: submit });
    problems.replaceChildren(box);
    if (!form.querySelector("[aria-invalid]")) box.focus();
    showNote("answerHere");
  }

  function setBusy(busy) {
    button.disabled = busy;
    button.classList.toggle("busy", busy);
    localize(buttonText, () => t(busy ? "classifying" : "classify"));
    answerArea.setAttribute("aria-busy", String(busy));
  }

  function showAnswer(answer, request, callSignal) {
    const explanation = renderExplanationSection(answer, card, {
      pictures: input.pictures,
      requestExplanation: () => explain(card.pipeline, request, callSignal),
      onOtherVersion: (newAnswer) => replaceAnswer(newAnswer, request, callSignal),
      signal: callSignal,
    });
    answerArea.replaceChildren(renderAnswer(answer, card, explanation));
    if (answer.model.version !== card.model.version) onNewVersion();
  }

  /** An explanation by another version comes with that version's answer, which may differ. */
  function replaceAnswer(answer, request, callSignal) {
    showAnswer(answer, request, callSignal);
    const note = el("p", { class: "version-note", tabindex: "-1" }, () => t("otherVersion", answer.model));
    answerArea.prepend(note);
    note.focus({ preventScroll: true });
    scrollIntoView(note);
  }

  async function submit() {
    reset();
    const thisCall = new AbortController();
    currentCall = thisCall;
    const callSignal = AbortSignal.any([thisCall.signal, signal]);
    let showOutcome;
    try {
      const request = input.read();
      setBusy(true);
      showNote("sniffing");
      const answer = await classify(card.pipeline, request, callSignal);
      showOutcome = () => {
        showAnswer(answer, request, callSignal);
        button.focus({ preventScroll: true }); // it lost the focus when it was disabled
        scrollIntoView(answerArea);
      };
    } catch (error) {
      showOutcome = () => showProblem(error);
    }
    if (currentCall === thisCall) setBusy(false);
    if (!callSignal.aborted) showOutcome();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  reset();
  return el("div", { class: "classify-panel" }, form,
    el("section", { class: "answer-panel", "aria-labelledby": "answer-title" }, el("h2", { id: "answer-title" }, () => t("answer")), answerArea));
}
