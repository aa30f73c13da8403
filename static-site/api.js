// Calls to classify. Every failed call throws a Problem.

const TIMEOUT_S = 30;
// While a function is redeployed, the gateway answers in plain text and the reverse proxy with 503. The page retries.
const RETRY_S = 20;
const RETRY_EVERY_MS = 1000;
const UNAVAILABLE_STATUSES = [404, 500, 502, 503, 504];

const PROBLEM_KINDS = { "urn:sabueso:problem:no-model": "no-model", "urn:sabueso:problem:unavailable": "unavailable" };

/**
 * kind: `http` (the server answered with an error), `unavailable` (no function answered), `no-model`, `timeout`, `network`,
 * `unreadable` (the answer is not JSON) or `page` (found by the page itself; `text()` says it in the current language).
 */
export class Problem extends Error {
  constructor(kind, fields = {}) {
    super(fields.detail ?? kind);
    this.kind = kind;
    this.status = fields.status ?? null;
    this.title = fields.title ?? "";
    this.detail = fields.detail ?? "";
    this.errors = fields.errors ?? [];
    this.requestId = fields.request_id ?? "";
    this.retryAfterS = fields.retryAfterS ?? null;
    this.timeoutS = TIMEOUT_S;
    this.url = fields.url ?? "";
    this.otherOrigin = gatewayOrigin() === location.origin ? "" : gatewayOrigin();
    this.text = fields.text ?? null;
  }

  get retryable() {
    return ["unavailable", "no-model", "timeout", "network", "unreadable"].includes(this.kind) || [429, 500, 502, 503, 504].includes(this.status);
  }
}

const gatewayOrigin = () => document.querySelector('meta[name="sabueso-gateway"]').content.replace(/\/+$/, "") || location.origin;

function classifyUrl(...segments) {
  return [`${gatewayOrigin()}/function/classify`, ...segments.map(encodeURIComponent)].join("/");
}

/** Retry-After in seconds (RFC 9110: a number or a date), or null. */
function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

async function readProblem(response) {
  const retryAfterS = retryAfter(response);
  if (!(response.headers.get("Content-Type") ?? "").startsWith("application/problem+json")) {
    const kind = UNAVAILABLE_STATUSES.includes(response.status) ? "unavailable" : "http";
    return new Problem(kind, { status: response.status, retryAfterS, url: response.url });
  }
  const document = await response.json();
  return new Problem(PROBLEM_KINDS[document.type] ?? "http", { ...document, status: response.status, retryAfterS });
}

const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

async function callWithRetries(url, signal, options = {}) {
  const deadline = Date.now() + RETRY_S * 1000;
  for (;;) {
    try {
      return await call(url, signal, options);
    } catch (problem) {
      if (problem.kind !== "unavailable" || Date.now() > deadline || signal.aborted) throw problem;
      await sleep(RETRY_EVERY_MS);
      signal.throwIfAborted();
    }
  }
}

async function call(url, signal, options) {
  const request = new AbortController();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    request.abort();
  }, TIMEOUT_S * 1000);
  signal.addEventListener("abort", () => request.abort());
  try {
    const response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers }, signal: request.signal });
    if (!response.ok) throw await readProblem(response);
    return await response.json();
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
    if (timedOut) throw new Problem("timeout");
    throw new Problem(error instanceof SyntaxError ? "unreadable" : "network");
  } finally {
    clearTimeout(timer);
  }
}

export const getPipelines = (signal) => callWithRetries(classifyUrl(), signal);
export const getModelCard = (pipeline, signal) => callWithRetries(classifyUrl(pipeline), signal);
export const classify = (pipeline, input, signal) => callWithRetries(classifyUrl(pipeline), signal, post(input));
/** Like classify; each prediction also has an `explanation`. */
export const explain = (pipeline, input, signal) => callWithRetries(`${classifyUrl(pipeline)}?explain=1`, signal, post(input));

const post = ({ body, type }) => ({ method: "POST", body, headers: { "Content-Type": type } });
