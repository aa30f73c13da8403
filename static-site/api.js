// Calls to classify, and the one kind of error that they end in.

const TIMEOUT_S = 30;
// A function that is deployed anew is away for some seconds: its gateway says so in plain text, the door with 503.
const AWAY_S = 20;
const AWAY = [404, 500, 502, 503, 504];

/** kind: `http` (the server said no), `away` (no function answered), `no-model`, `timeout`, `network`, `garbled`,
 *  `here` (found before sending). */
export class Problem extends Error {
  constructor(kind, facts = {}) {
    super(facts.detail ?? kind);
    this.kind = kind;
    this.status = facts.status ?? null;
    this.title = facts.title ?? "";
    this.detail = facts.detail ?? "";
    this.errors = facts.errors ?? [];
    this.requestId = facts.request_id ?? "";
    this.retryAfterS = facts.retryAfterS ?? null;
    this.seconds = TIMEOUT_S;
    this.words = facts.words ?? null; // kind `here`: a function that says it in the chosen language
  }

  get worthRetrying() {
    return ["away", "no-model", "timeout", "network", "garbled"].includes(this.kind) || [429, 500, 502, 503, 504].includes(this.status);
  }
}

function address(...parts) {
  const origin = document.querySelector('meta[name="sabueso-gateway"]').content.replace(/\/+$/, "");
  return [`${origin}/function/classify`, ...parts.map(encodeURIComponent)].join("/");
}

/** Retry-After in seconds (RFC 9110: a number or a date), or null. */
function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

async function problemOf(response) {
  const retryAfterS = retryAfter(response);
  if (!(response.headers.get("Content-Type") ?? "").startsWith("application/problem+json")) {
    const kind = AWAY.includes(response.status) ? "away" : "http"; // a proxy's own words, not ours
    return new Problem(kind, { status: response.status, retryAfterS });
  }
  const document = await response.json();
  const kind = { "urn:sabueso:problem:no-model": "no-model", "urn:sabueso:problem:unavailable": "away" }[document.type];
  return new Problem(kind ?? "http", { ...document, status: response.status, retryAfterS });
}

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Ask, and ask again for AWAY_S while no function answers. */
async function call(url, signal, options = {}) {
  const until = Date.now() + AWAY_S * 1000;
  for (;;) {
    try {
      return await ask(url, signal, options);
    } catch (problem) {
      if (problem.kind !== "away" || Date.now() > until || signal.aborted) throw problem;
      await pause(1000);
      signal.throwIfAborted();
    }
  }
}

async function ask(url, signal, options) {
  const stop = new AbortController();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stop.abort();
  }, TIMEOUT_S * 1000);
  signal.addEventListener("abort", () => stop.abort());
  try {
    const response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers }, signal: stop.signal });
    if (!response.ok) throw await problemOf(response);
    return await response.json();
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
    if (late) throw new Problem("timeout");
    throw new Problem(error instanceof SyntaxError ? "garbled" : "network");
  } finally {
    clearTimeout(timer);
  }
}

export const getIndex = (signal) => call(address(), signal);
export const getCard = (pipeline, signal) => call(address(pipeline), signal);
export const classify = (pipeline, input, signal) => call(address(pipeline), signal, sending(input));
/** As classify, and each prediction has an `explanation`. */
export const explain = (pipeline, input, signal) => call(`${address(pipeline)}?explain=1`, signal, sending(input));

const sending = ({ body, type }) => ({ method: "POST", body, headers: { "Content-Type": type } });
