import { Problem, getCard, getIndex } from "./api.js";
import { renderAsk } from "./ask.js";
import { renderCard } from "./card.js";
import { el } from "./dom.js";
import { inLanguage, say, startLanguage, t } from "./i18n.js";
import { renderProblem } from "./problem.js";

const nav = document.getElementById("pipelines");
const main = document.getElementById("main");
let pipelines = [];
let showing = new AbortController();

/** The pipeline named in the address: #pets. */
function linked() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

async function start() {
  const signal = turn();
  main.replaceChildren(el("p", { class: "nothing", role: "status" }, () => t("loading")));
  try {
    ({ pipelines } = await getIndex(signal));
  } catch (error) {
    if (!signal.aborted) fail(error);
    return;
  }
  show();
}

/** A new page turn: whatever the last one was still waiting for is dropped. */
function turn() {
  showing.abort();
  showing = new AbortController();
  return showing.signal;
}

function renderNav(chosen) {
  nav.replaceChildren(el("ul", {}, ...pipelines.map((pipeline) => el("li", {},
    el("a", { href: `#${encodeURIComponent(pipeline.name)}`, "aria-current": pipeline === chosen ? "page" : null },
      el("b", {}, () => inLanguage(pipeline.title)),
      el("small", { class: pipeline.ready ? "ready" : "not-ready" },
        () => `${t(pipeline.kind === "image" ? "kindImage" : "kindTabular")} · ` +
          (pipeline.ready ? t("ready", { version: pipeline.version }) : t("notReady"))))))));
}

async function show() {
  const signal = turn();
  const name = linked();
  const chosen = name ? pipelines.find((one) => one.name === name) : (pipelines.find((one) => one.ready) ?? pipelines[0]);
  renderNav(chosen);
  say(document.querySelector("title"), () => (chosen ? `${inLanguage(chosen.title)} · Sabueso` : "Sabueso"));
  if (!chosen) {
    fail(new Problem("here", { words: () => (pipelines.length ? t("noSuchPipeline", { name }) : t("noPipelines")) }));
    return;
  }
  if (!name) history.replaceState(null, "", `#${encodeURIComponent(chosen.name)}`);
  main.replaceChildren(el("p", { class: "nothing", role: "status" }, () => t("loading")));
  try {
    const card = await getCard(chosen.name, signal);
    if (signal.aborted) return;
    const place = el("div", { class: "card-place" }, renderCard(card));
    main.replaceChildren(place, renderAsk(card, signal, () => renewCard(chosen.name, place, signal)));
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

/** A new champion answered: the card follows it, what was typed and answered stays. */
async function renewCard(name, place, signal) {
  try {
    place.replaceChildren(renderCard(await getCard(name, signal)));
  } catch (error) {
    if (!(error instanceof Problem) && !signal.aborted) throw error;
  }
}

function fail(problem) {
  if (!(problem instanceof Problem)) throw problem;
  main.replaceChildren(renderProblem(problem, { retry: start }));
}

function linkMlflow() {
  const address = document.querySelector('meta[name="sabueso-mlflow"]').content;
  if (!address) return;
  document.getElementById("footer").append(el("p", {}, el("a", { href: address, rel: "noopener" }, () => t("mlflow"))));
}

say(nav, () => t("pipelines"), "aria-label");
linkMlflow();
startLanguage();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's hash names the pipeline
  main.focus();
});
addEventListener("hashchange", show);
start();
