import { el } from "./dom.js";
import { hasText, t } from "./language.js";

/** First sentence, in the current language. The server's own detail, in English, follows it. */
function leadText(problem) {
  if (problem.text) return problem.text();
  if (problem.kind === "no-model") return t("problemNoModel");
  if (problem.kind === "timeout") return t("problemTimeout", { s: problem.timeoutS });
  // The browser does not tell a page which of the reasons it was.
  if (problem.kind === "network" && problem.otherOrigin) return t("problemOtherOrigin", { server: problem.otherOrigin, site: location.origin });
  if (problem.kind === "network") return t("problemNetwork");
  if (problem.kind === "unreadable") return t("problemUnreadable");
  if (problem.kind === "unavailable" && problem.status === 404) return t("problemNoFunction", { url: problem.url });
  if (problem.kind === "unavailable") return t("problem503");
  const key = `problem${problem.status}`;
  return hasText(key) ? t(key) : t("problemOther", { status: problem.status });
}

/** `errors`: those not shown at a field. `retry`: called by the "Try again" button. */
export function renderProblem(problem, { errors = problem.errors, retry = null } = {}) {
  const serverText = problem.detail || problem.title;
  return el("div", { class: problem.kind === "no-model" ? "problem neutral" : "problem", role: "alert", tabindex: "-1" },
    el("p", { class: "problem-lead" }, () => leadText(problem)),
    serverText ? el("p", {}, () => t("serverDetail"), " ", el("span", { lang: "en" }, serverText)) : null,
    errors.length ? el("ul", { lang: "en" }, ...errors.map(({ field, detail }) => el("li", {}, field ? `${field}: ${detail}` : detail))) : null,
    problem.retryAfterS === null ? null : countdown(problem.retryAfterS),
    retry && problem.retryable ? retryButton(retry) : null,
    problem.requestId ? el("small", {}, () => t("request", { id: problem.requestId })) : null);
}

function retryButton(retry) {
  const button = el("button", { type: "button", class: "secondary" }, () => t("retry"));
  button.addEventListener("click", retry);
  return button;
}

/** The role `timer` keeps screen readers from reading every second aloud. */
function countdown(seconds) {
  const end = Date.now() + seconds * 1000;
  const secondsLeft = () => Math.max(0, Math.ceil((end - Date.now()) / 1000));
  const text = () => (secondsLeft() > 0 ? t("retryIn", { s: secondsLeft() }) : t("retryNow"));
  const line = el("p", { role: "timer" }, text);
  const timer = setInterval(() => {
    line.textContent = text();
    if (secondsLeft() === 0 || !line.isConnected) clearInterval(timer);
  }, 1000);
  return line;
}
