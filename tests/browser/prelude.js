// What the scenarios share. `SHIM` is the sidecar's address, an origin that is not the page's.

const post = (path, body) =>
  fetch(SHIM + path, {
    method: "POST",
    credentials: "include",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });

const logIn = () => post("/login");
const go = () => post("/go");

// A thread on which an agent has asked.
const asked = async (agent_id) => {
  const { thread_id } = await (await post("/threads")).json();
  await (await post("/runs/wait", { thread_id, agent_id, input: { topic: "lunch" } })).json();
  return thread_id;
};

const resume = (route, body, { headers, ...options } = {}) =>
  fetch(`${SHIM}/runs/resume${route}`, {
    method: "PATCH",
    credentials: "include",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ input: "yes", ...body }),
    ...options,
  });

const told = async (answer) => ({
  status: answer.status,
  type: answer.headers.get("content-type"),
  location: answer.headers.get("content-location"),
  replayed: answer.headers.get("idempotency-replayed"),
  later: answer.headers.get("retry-after"),
  body: await answer.json(),
});

const reading = (answer) => answer.body.pipeThrough(new TextDecoderStream()).getReader();

// The text that comes, as far as a part of it, or to the end.
const read = async (reader, part) => {
  let text = "";
  while (part === undefined || !text.includes(part)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  return text;
};

// Everything that a target says under these names, in order: none is missed while the page does something else.
const hearing = (target, ...names) => {
  const [said, waiting] = [[], []];
  const hear = (event) => (waiting.length ? waiting.shift()(event) : said.push(event));
  names.forEach((name) => target.addEventListener(name, hear));
  return () => (said.length ? Promise.resolve(said.shift()) : new Promise((resolve) => waiting.push(resolve)));
};
