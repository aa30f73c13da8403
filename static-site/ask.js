import { Problem, classify } from "./api.js";
import { renderAnswer } from "./answer.js";
import { el } from "./dom.js";
import { tabularInput } from "./form.js";
import { say, t } from "./i18n.js";
import { pictureInput } from "./picture.js";
import { renderProblem } from "./problem.js";

/**
 * Input and answer of one pipeline, side by side. `signal` ends everything when another pipeline is shown;
 * `otherVersion` is told when the answer comes from another version than the card's.
 */
export function renderAsk(card, signal, otherVersion) {
  const problems = el("div", { class: "problems" });
  const answer = el("div", { class: "answer-place", "aria-live": "polite", "aria-busy": "false" });
  const label = el("span", {}, () => t("classify"));
  const button = el("button", { type: "submit", class: "send" }, el("span", { class: "spinner", "aria-hidden": "true" }), label);
  const input = card.kind === "image" ? pictureInput(card, reset, complain, signal) : tabularInput(card, reset);
  const form = el("form", { novalidate: true, class: "input" },
    el("h2", {}, () => t(card.kind === "image" ? "yourPicture" : "yourRow")),
    problems,
    input.element,
    button);
  let waiting = null;

  function reset() {
    waiting?.abort();
    problems.replaceChildren();
    answer.replaceChildren(el("p", { class: "nothing" }, () => t("answerHere")));
  }

  function complain(problem) {
    if (!(problem instanceof Problem)) throw problem;
    const beside = input.point(problem.errors);
    const box = renderProblem(problem, { errors: beside, retry: send });
    problems.replaceChildren(box);
    if (!form.querySelector("[aria-invalid]")) box.focus();
    answer.replaceChildren(el("p", { class: "nothing" }, () => t("answerHere")));
  }

  function wait(on) {
    button.disabled = on;
    button.classList.toggle("waiting", on);
    say(label, () => t(on ? "classifying" : "classify"));
    answer.setAttribute("aria-busy", String(on));
  }

  function show(answered) {
    answer.replaceChildren(renderAnswer(answered, card));
    button.focus({ preventScroll: true }); // a disabled button loses the focus
    bringIntoView(answer);
    if (answered.model.version !== card.model.version) otherVersion();
  }

  async function send() {
    reset();
    const mine = new AbortController();
    waiting = mine;
    const ended = AbortSignal.any([mine.signal, signal]);
    let outcome;
    try {
      const request = input.take();
      wait(true);
      answer.replaceChildren(el("p", { class: "nothing" }, () => t("sniffing")));
      const answered = await classify(card.pipeline, request, ended);
      outcome = () => show(answered);
    } catch (error) {
      outcome = () => complain(error);
    }
    if (waiting === mine) wait(false);
    if (!ended.aborted) outcome();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  reset();
  return el("div", { class: "ask" }, form,
    el("section", { class: "output", "aria-labelledby": "answer-title" }, el("h2", { id: "answer-title" }, () => t("answer")), answer));
}

function bringIntoView(element) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}
