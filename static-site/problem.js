import { el } from "./dom.js";
import { has, t } from "./i18n.js";

/** First sentence of a problem in the chosen language; the server's own words come after it. */
function lead(problem) {
  if (problem.words) return problem.words();
  if (problem.kind === "no-model") return t("problemNoModel");
  if (problem.kind === "timeout") return t("problemTimeout", { s: problem.seconds });
  if (problem.kind === "network") return t("problemNetwork");
  if (problem.kind === "garbled") return t("problemGarbled");
  if (problem.kind === "away") return t("problem503");
  const key = `problem${problem.status}`;
  return has(key) ? t(key) : t("problemOther", { status: problem.status });
}

/** A box that tells what went wrong. `errors`: those not shown beside a field. `retry`: what its button does. */
export function renderProblem(problem, { errors = problem.errors, retry = null } = {}) {
  const own = problem.detail || problem.title;
  return el("div", { class: problem.kind === "no-model" ? "problem calm" : "problem", role: "alert", tabindex: "-1" },
    el("p", { class: "problem-lead" }, () => lead(problem)),
    own ? el("p", { lang: "en" }, own) : null,
    errors.length ? el("ul", { lang: "en" }, ...errors.map(({ field, detail }) => el("li", {}, field ? `${field}: ${detail}` : detail))) : null,
    problem.retryAfterS === null ? null : countdown(problem.retryAfterS),
    retry && problem.worthRetrying ? retryButton(retry) : null,
    problem.requestId ? el("small", {}, () => t("request", { id: problem.requestId })) : null);
}

function retryButton(retry) {
  const button = el("button", { type: "button", class: "quiet" }, () => t("retry"));
  button.addEventListener("click", retry);
  return button;
}

/** Counts down in place; role timer keeps each tick from being read out. */
function countdown(seconds) {
  const end = Date.now() + seconds * 1000;
  const left = () => Math.max(0, Math.ceil((end - Date.now()) / 1000));
  const words = () => (left() > 0 ? t("retryIn", { s: left() }) : t("retryNow"));
  const line = el("p", { role: "timer" }, words);
  const tick = setInterval(() => {
    line.textContent = words();
    if (left() === 0 || !line.isConnected) clearInterval(tick);
  }, 1000);
  return line;
}
