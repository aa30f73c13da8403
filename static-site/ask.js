import { Problem, classify, explain } from "./api.js";
import { renderAnswer } from "./answer.js";
import { bringIntoView, el } from "./dom.js";
import { tabularInput } from "./form.js";
import { say, t } from "./i18n.js";
import { pictureInput } from "./picture.js";
import { renderProblem } from "./problem.js";
import { renderWhy } from "./why.js";

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

  function show(answered, request, ended) {
    const why = renderWhy(answered, card, {
      pictures: input.pictures,
      ask: () => explain(card.pipeline, request, ended),
      replaced: (other) => replace(other, request, ended),
      signal: ended,
    });
    answer.replaceChildren(renderAnswer(answered, card, why));
    if (answered.model.version !== card.model.version) otherVersion();
  }

  /** Another version explained itself: its whole answer takes the place of the one before. */
  function replace(answered, request, ended) {
    show(answered, request, ended);
    const note = el("p", { class: "replaced", tabindex: "-1" }, () => t("whyOther", answered.model));
    answer.prepend(note);
    note.focus({ preventScroll: true });
    bringIntoView(note);
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
      outcome = () => {
        show(answered, request, ended);
        button.focus({ preventScroll: true }); // a disabled button loses the focus
        bringIntoView(answer);
      };
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
