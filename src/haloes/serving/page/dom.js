// Elements of the page. Texts go in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

// An element with attributes ("onclick" and the like are listeners) and children, texts or elements.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// What a turn says: its words, and the calls of tools that it makes.
export function said(message) {
  const content = message.content;
  const words = typeof content === "string" ? content : (content || []).map((part) => part.text || `[${part.type}]`).join("\n");
  const calls = (message.tool_calls || []).map((call) => `${call.function?.name}(${call.function?.arguments})`);
  return [words, ...calls].filter(Boolean).join("\n");
}

// A box with one turn, and the places in it of who speaks, of the thoughts and of the words.
export function turn(message, who) {
  const words = make("div", { class: "words" }, said(message));
  const thoughts = message.reasoning_content || message.reasoning || "";
  const thought = make("div", { class: "thought", hidden: !thoughts }, thoughts);
  const name = make("span", { class: "who" }, who || message.role);
  return { box: make("div", { class: "turn " + (message.role === "user" ? "user" : "") }, name, thought, words), name, thought, words };
}

export function problem(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? String(error.message || error) : "";
}

// A listener that shows what goes wrong.
export const guarded = (work) => async (event) => {
  event?.preventDefault();
  problem(null);
  try { await work(event); } catch (error) { if (error.name !== "AbortError") problem(error); }
};
