// The requests of the page, and the shapes that travel: questions, templates of answers, Server-Sent Events.

const HERE = new URL("../", import.meta.url); // the reserved prefix, in front of `console` and `questions`
export const MODES = ["values", "updates", "messages", "custom"];

let credentials = null; // [name, value]: in memory alone

export function setCredentials(name, value) {
  // A TypeError for what no header can carry. Browsers leave out the headers that they set themselves, such as Cookie.
  if (name !== null && !new Request(HERE, { headers: [[name, value]] }).headers.has(name)) throw new TypeError();
  credentials = name === null ? null : [name, value];
}
export const hasCredentials = () => credentials !== null;

export class Failure extends Error {
  constructor(status, code, message, metadata = {}, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, metadata, retryAfter });
  }
}

async function call(url, { headers = {}, ...options } = {}) {
  const all = new Headers({ accept: "application/json", ...headers });
  if (credentials) all.set(...credentials);
  let response;
  try {
    response = await fetch(url, {
      ...options,
      headers: all,
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(
      0,
      "no_connection",
      "No response from the shim. Check that it runs, and that you are logged in if there is a login page in front of it.",
    );
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  const body = parse(text, null);
  const message = body?.message ?? `The server responded with status ${response.status} and no explanation.`;
  throw new Failure(
    response.status,
    body?.code ?? "unknown",
    message,
    body?.metadata ?? {},
    response.headers.get("retry-after"),
  );
}

export async function listQuestions({ agent, cursor }) {
  const url = new URL("questions", HERE);
  url.searchParams.set("limit", "20");
  if (agent) url.searchParams.set("agent", agent);
  if (cursor) url.searchParams.set("cursor", cursor);
  return read(await call(url));
}

export async function threadQuestions(thread, agent) {
  const url = new URL(`questions/${encodeURIComponent(thread)}`, HERE);
  if (agent) url.searchParams.set("agent_id", agent);
  return read(await call(url));
}

async function read(response) {
  const body = parse(await response.text(), null);
  if (!Array.isArray(body?.questions))
    throw new Failure(
      response.status,
      "unreadable",
      "The response is not a list of questions. A login page may be in front of the shim.",
    );
  return body;
}

// `body` is text: a repetition has the same bytes, and so may have the same key.
export const sendAnswer = (question, body, key) =>
  call(new URL(`${question.resume.path}/stream`, location.origin), {
    method: question.resume.method,
    body,
    headers: {
      accept: "text/event-stream, application/json",
      "content-type": "application/json",
      "idempotency-key": `"${key}"`,
    },
  });

// crypto.randomUUID exists in secure contexts only, and a console may be reached by plain HTTP.
export const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// JSON in which numbers keep their digits: 1.0 stays 1.0, and an id of 20 digits is not rounded.
export function parse(text, otherwise) {
  const exact = (_, value, context) =>
    typeof value === "number" && JSON.rawJSON && context?.source !== undefined && context.source !== String(value)
      ? JSON.rawJSON(context.source)
      : value;
  try {
    return JSON.parse(text, exact);
  } catch (error) {
    if (otherwise === undefined) throw error;
    return otherwise;
  }
}

// The answer that a template makes of a person's choice. `{"$choice": NAME}` is a placeholder; a member whose message is
// empty is left out.
export function fill(template, choice) {
  if (Array.isArray(template)) return template.map((item) => fill(item, choice));
  if (template === null || typeof template !== "object" || JSON.isRawJSON?.(template)) return template;
  const name = placeholder(template);
  if (name === null) {
    const kept = Object.entries(template).filter(
      ([, item]) => placeholder(item) !== "message" || ![undefined, null, ""].includes(choice.message),
    );
    return Object.fromEntries(kept.map(([key, item]) => [key, fill(item, choice)]));
  }
  if (!Object.hasOwn(choice, name)) throw new Error(`The answer has no ${name}.`);
  return choice[name];
}

export function placeholders(template) {
  if (template === null || typeof template !== "object") return [];
  const name = placeholder(template);
  return name !== null ? [name] : Object.values(template).flatMap(placeholders);
}

function placeholder(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  const keys = Object.keys(value);
  return keys.length === 1 && keys[0] === "$choice" ? value.$choice : null;
}

// The events of a stream, as they come: {event, data, text}.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const fields = block.split(/\r?\n/).map((line) => /^([^:]*)(?:: ?(.*))?$/s.exec(line));
      const data = fields.filter(([, name]) => name === "data").map(([, , data]) => data ?? "");
      if (!data.length) continue;
      const event = fields.findLast(([, name]) => name === "event")?.[2] ?? "message";
      yield { event, data: parse(data.join("\n"), data.join("\n")) };
    }
  }
}
