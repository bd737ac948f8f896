// The run that an answer continues: its stream, as it comes.

import { events } from "./api.js";
import { button, h, isObject, shown, table } from "./dom.js";

const MAX_EVENTS = 300;
const MAX_TEXT = 4000;
const clipped = (text) =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}\n… ${text.length - MAX_TEXT} more characters` : text;

export function runPanel(input) {
  const state = h("span", { class: "state running" }, "Running");
  const heading = h("h3", { tabindex: -1 }, "Run ", state);
  const log = h("ol", { class: "events", "aria-label": "Events of the run" });
  const result = h("div", {});
  const end = h("div", {});
  const element = h(
    "section",
    { class: "run", "aria-label": "Run" },
    heading,
    h(
      "div",
      { class: "answer" },
      h("p", { class: "hint" }, "Your answer"),
      h("pre", { class: "value", tabindex: 0 }, shown(input)),
    ),
    log,
    result,
    end,
  );
  let outcome = "finished";
  let count = 0;
  const messages = new Map();

  const enter = (kind, text) => {
    state.className = `state ${kind}`;
    state.textContent = text;
  };

  const add = (name, content, style = "") => {
    if (++count > MAX_EVENTS) log.firstElementChild.remove();
    const item = h("li", { class: style || null }, h("span", { class: "event" }, name), content);
    log.append(item);
    return item;
  };

  const code = (data) => h("pre", { class: "value", tabindex: 0 }, clipped(shown(data)));

  function take({ event, data }) {
    const [name] = event.split("|");
    if (name === "metadata" || name === "end") return;
    if (name === "values") {
      if (isObject(data) && "__interrupt__" in data) outcome = "interrupted";
      result.replaceChildren(h("details", { class: "raw" }, h("summary", {}, "State of the thread"), code(data)));
    } else if (name === "messages" || name === "messages-tuple") {
      message(data);
    } else if (name === "error") {
      outcome = "failed";
      add("error", code(data?.message ?? data), "bad");
    } else if (name === "updates" && isObject(data)) {
      for (const [node, update] of Object.entries(data)) {
        if (node === "__interrupt__") outcome = "interrupted";
        else add(node, update === null ? "" : isObject(update) ? table(update) : code(update));
      }
    } else add(event, code(data));
  }

  // Parts of a message come one by one, and grow in one place.
  function message(data) {
    const [part] = Array.isArray(data) ? data : [data];
    const content = textOf(part);
    if (!content) return;
    const id = part.id ?? "message";
    if (!messages.has(id)) {
      const block = h("div", { class: "words" });
      messages.set(id, block);
      add(part.type === "tool" ? "tool" : "message", block);
    }
    messages.get(id).append(content);
  }

  return {
    element,
    focus: () => heading.focus(),
    summary: () =>
      outcome === "broken"
        ? "The connection was lost. The run goes on."
        : outcome === "failed"
          ? "The run failed."
          : outcome === "interrupted"
            ? "The agent asks again."
            : "The run has finished.",
    // Show the stream to its end.
    async follow(response) {
      try {
        for await (const event of events(response)) take(event);
      } catch {
        outcome = "broken";
      }
      enter(...STATES[outcome]);
    },
    // Offer what may come next: further questions of the thread, as [title, open], or the next one of the list.
    after(questions, next) {
      if (outcome === "broken")
        end.append(
          h(
            "p",
            { class: "hint" },
            "The connection was lost while the agent works. Your answer was accepted, and the run goes on.",
          ),
        );
      for (const [title, open] of questions)
        end.append(h("div", { class: "follow" }, h("p", {}, title), button("Answer", open, "primary")));
      end.append(h("div", { class: "buttons" }, button("Next question", next, questions.length ? "" : "primary")));
    },
  };
}

const STATES = {
  finished: ["done", "Finished"],
  interrupted: ["waiting", "Asks again"],
  failed: ["bad", "Failed"],
  broken: ["waiting", "Connection lost"],
};

function textOf(part) {
  if (!isObject(part)) return "";
  if (typeof part.content === "string") return part.content;
  return Array.isArray(part.content) ? part.content.map((each) => each?.text ?? "").join("") : "";
}
