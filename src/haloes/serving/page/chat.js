// The chat: a conversation with one of the models, whose answers are voted on where they stand.

import { $, guarded, turn } from "./dom.js";
import { ask, choices, ofTab, read, user } from "./server.js";
import { thumbs } from "./votes.js";

let turns = []; // with the answers' ids, so that a reload finds their votes
let stopping = null;
let begin;
const begun = new Promise((resolve) => { begin = resolve; });

function busy(control) {
  stopping = control;
  $("send").hidden = Boolean(control);
  $("stop").hidden = !control;
}

function changed() {
  $("nothing-said").hidden = turns.length > 0;
  ofTab.set("chat", turns);
}

function shown(message) {
  const drawn = turn(message, message.role === "user" ? "You" : message.model);
  $("turns").append(drawn.box);
  return drawn;
}

const follow = () => { if (innerHeight + scrollY > document.documentElement.scrollHeight - 120) scrollTo(0, document.documentElement.scrollHeight); };

async function chat() {
  await begun; // what was said before is there
  const question = $("question").value.trim();
  if (!question || stopping) return;
  const model = $("model").value;
  const asked = { role: "user", content: question }, answer = { role: "assistant", model, content: "", reasoning: "" };
  const boxes = [shown(asked), shown(answer)];
  const { box, words, thought } = boxes[1];
  $("question").value = "";
  $("nothing-said").hidden = true;
  box.setAttribute("aria-busy", "true");
  scrollTo(0, document.documentElement.scrollHeight);
  busy(new AbortController());
  try {
    const messages = [...turns, asked].map(({ role, content }) => ({ role, content }));
    const reply = await ask("POST", "/v1/chat/completions", { model, messages, stream: true, user: user() || undefined }, stopping.signal);
    answer.id = reply.headers.get("x-haloes-completion-id");
    for await (const { delta } of choices(reply)) {
      answer.reasoning += delta.reasoning_content || delta.reasoning || "";
      answer.content += delta.content || "";
      thought.hidden = !answer.reasoning;
      thought.textContent = answer.reasoning;
      words.textContent = answer.content;
      follow();
    }
  } finally {
    busy(null);
    box.removeAttribute("aria-busy");
    if (answer.content || answer.reasoning) {
      turns.push(asked, answer);
      if (answer.id) box.append(thumbs(answer.id));
      follow();
    } else { // as if it had not been asked
      boxes.forEach((each) => each.box.remove());
      $("question").value = question;
    }
    changed();
  }
}

function anew() {
  stopping?.abort();
  turns = [];
  $("turns").replaceChildren();
  changed();
  $("question").focus();
}

async function restore() {
  turns = ofTab.get("chat") || [];
  changed();
  for (const message of turns) {
    const { box } = shown(message);
    if (!message.id) continue;
    const { votes } = await read("/api/answers/" + encodeURIComponent(message.id)).catch(() => ({ votes: [] }));
    box.append(thumbs(message.id, { votes }));
  }
}

let restored = null;
export async function show() {
  await (restored ??= restore());
  begin();
  $("question").focus();
}

$("ask").addEventListener("submit", guarded(chat));
$("question").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) guarded(chat)(event); });
$("stop").addEventListener("click", () => { stopping?.abort(); $("question").focus(); });
$("chat").addEventListener("keydown", (event) => { if (event.key === "Escape") stopping?.abort(); });
$("anew").addEventListener("click", anew);
$("model").addEventListener("change", () => ofTab.set("model", $("model").value));
