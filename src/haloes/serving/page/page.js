// The page of `haloes serve`: chat, blind comparison, queue and list. Texts go in as text, never as HTML.
const $ = (id) => document.getElementById(id);
let token = "";
let info = null;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function problem(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? String(error.message || error) : "";
}

async function ask(method, path, body, signal) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (token) headers.Authorization = "Bearer " + token;
  const reply = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (reply.ok) return reply;
  let error = new Error("The server answers " + reply.status);
  try { const told = (await reply.json()).error; error = new Error(told.message); error.code = told.code; } catch (_) { /* no JSON */ }
  if (reply.status === 401) { $("login").hidden = false; $("token").focus(); }
  throw error;
}
const read = async (path) => (await ask("GET", path)).json();
const send = async (path, body) => (await ask("POST", path, body)).json();
const guarded = (work) => async (event) => {
  if (event && event.preventDefault) event.preventDefault();
  problem(null);
  try { await work(event); } catch (error) { if (error.name !== "AbortError") problem(error); }
};
const user = () => $("user").value.trim() || null;

function turn(role, content, who, thought) {
  const words = make("div", {}, content || "");
  const box = make("div", { class: "turn " + role }, make("span", { class: "who" }, who || role));
  const thinking = make("div", { class: "thought", hidden: !thought }, thought || "");
  box.append(thinking, words);
  return { box, words, thinking };
}
function words(content) {
  return typeof content === "string" ? content : (content || []).map((part) => part.text || "[" + part.type + "]").join("\n");
}

// --- votes

function thumbs(completion, after) {
  const comment = make("input", { class: "grow", "aria-label": "Why?", placeholder: "Why? (optional)" });
  const correction = make("textarea", { "aria-label": "A better answer", placeholder: "A better answer (optional)" });
  const told = make("span", { class: "quiet", "aria-live": "polite" });
  let rating = null;
  const buttons = [[1, "Good"], [-1, "Bad"]].map(([value, text]) =>
    make("button", { type: "button", "aria-pressed": "false", onclick: guarded(() => vote(rating === value ? null : value)) }, text));
  async function vote(value) {
    await send("/v1/feedback", { completion_id: completion, rating: value, user: user(),
      comment: comment.value || null, correction: value === 1 ? null : correction.value || null });
    rating = value;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(value === [1, -1][i])));
    told.textContent = value === null && !correction.value ? "Taken back" : "Kept";
    if (after) after(value);
  }
  const keep = make("button", { type: "button", onclick: guarded(() => vote(correction.value && rating === 1 ? -1 : rating)) }, "Keep reason and correction");
  return make("div", {}, make("div", { class: "row" }, ...buttons, comment, told),
    make("details", {}, make("summary", {}, "Correct it"), correction, make("div", { class: "row" }, keep)));
}

// --- chat

let history = [];
let stopping = null;

async function chat() {
  const question = $("question").value.trim();
  if (!question || stopping) return;
  history.push({ role: "user", content: question });
  $("turns").append(turn("user", question, "You").box);
  $("question").value = "";
  const model = $("model").value;
  const shown = turn("assistant", "", model);
  $("turns").append(shown.box);
  const control = stopping = new AbortController();
  $("send").disabled = true; $("stop").disabled = false;
  let said = "", id = null;
  try {
    const body = { model, messages: history, stream: true, user: user() || undefined };
    const reply = await ask("POST", "/v1/chat/completions", body, control.signal);
    id = reply.headers.get("x-haloes-completion-id");
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:") || line.slice(5).trim() === "[DONE]") continue;
        const choice = (JSON.parse(line.slice(5)).choices || [])[0];
        if (!choice) continue;
        const thought = choice.delta.reasoning_content || choice.delta.reasoning || "";
        if (thought) { shown.thinking.hidden = false; shown.thinking.textContent += thought; }
        said += choice.delta.content || "";
        shown.words.textContent = said;
      }
    }
  } finally {
    stopping = null;
    $("send").disabled = false; $("stop").disabled = true;
    if (said) history.push({ role: "assistant", content: said });
    else { history.pop(); shown.box.remove(); $("question").value = question; }
    if (id && said) shown.box.append(thumbs(id));
  }
}

// --- comparison

const VERDICTS = [["left", "1 Left is better"], ["right", "2 Right is better"], ["tie", "3 Equally good"], ["both_bad", "4 Both bad"]];
let current = null;

function showTally(tally) {
  const percent = (share) => Math.round(100 * share) + " %";
  const rate = tally.win_rate === null ? "" : `: ${percent(tally.win_rate)} for ${tally.candidate} (95 %: ${percent(tally.low)} to ${percent(tally.high)})`;
  const more = tally.more_votes ? `; ${tally.more_votes} more to see a difference of 10 points` : "";
  $("tally").textContent = `${tally.votes} ${tally.votes === 1 ? "vote" : "votes"}${rate}${more}.`;
}

async function compare(messages) {
  current = null;
  if (!info.compared) { $("pair").replaceChildren(make("p", {}, "There are no two models to compare: start with --compare A,B.")); return; }
  showTally(await read("/api/comparisons/tally"));
  $("pair").replaceChildren(make("p", { class: "quiet" }, "Both answer …"));
  let pair;
  try {
    pair = await send("/api/comparisons", messages ? { messages, user: user() } : { user: user() });
  } catch (error) {
    if (error.code !== "no_prompt_left") throw error;
    $("pair").replaceChildren(make("p", {}, "No prompt is left that you have not voted on; give one of your own."));
    return;
  }
  const sides = { left: turn("assistant", pair.left.content, "Left", pair.left.reasoning), right: turn("assistant", pair.right.content, "Right", pair.right.reasoning) };
  const comment = make("input", { class: "grow", "aria-label": "Why?", placeholder: "Why? (optional)" });
  const row = make("div", { class: "row" });
  async function vote(verdict) {
    if (current !== pair) return;
    current = null;
    row.querySelectorAll("button").forEach((button) => { button.disabled = true; });
    try {
      const told = await send(`/api/comparisons/${pair.id}/vote`, { verdict, comment: comment.value || null, user: user() });
      for (const side of ["left", "right"]) sides[side].box.firstChild.textContent = told[side].model;
      showTally(told.tally);
      const next = make("button", { type: "button", onclick: guarded(() => compare()) }, "Next (Enter)");
      row.replaceChildren(make("span", {}, "Kept: " + VERDICTS.find(([name]) => name === verdict)[1].slice(2)), next);
      next.focus();
    } catch (error) {
      current = pair;
      row.querySelectorAll("button").forEach((button) => { button.disabled = false; });
      throw error;
    }
  }
  pair.vote = vote;
  row.append(...VERDICTS.map(([name, text]) => make("button", { type: "button", onclick: guarded(() => vote(name)) }, text)), comment);
  $("pair").replaceChildren(...pair.messages.map((each) => turn(each.role, words(each.content)).box),
    make("div", { class: "sides" }, sides.left.box, sides.right.box), row);
  current = pair;
}

document.addEventListener("keydown", (event) => {
  if ($("compare").hidden || !current || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const place = ["1", "2", "3", "4"].indexOf(event.key);
  if (place >= 0) guarded(() => current.vote(VERDICTS[place][0]))(event);
});

// --- queue and list

async function queue() {
  const found = await read("/api/queue?limit=10");
  let left = found.left;
  const count = () => { $("left").textContent = left ? `${left} ${left === 1 ? "answer waits" : "answers wait"} for a vote, the least certain first.` : "No answer waits for a vote."; };
  count();
  $("waiting").replaceChildren(...found.answers.map((item) => {
    const box = make("article", {}, ...item.messages.map((each) => turn(each.role, words(each.content)).box),
      turn("assistant", words(item.message.content), item.model, item.message.reasoning_content).box);
    let counted = false;
    box.append(thumbs(item.completion_id, (value) => {
      if (value !== null && !counted) { counted = true; left -= 1; count(); }
      if (left && [...$("waiting").querySelectorAll("[aria-pressed=true]")].length === found.answers.length) guarded(queue)();
    }));
    return box;
  }));
}

let following = null;
async function list(more) {
  const wanted = new URLSearchParams({ search: $("words").value, rating: $("rating").value, limit: "30" });
  if (more && following) wanted.set("before", following);
  const found = await read("/api/answers?" + wanted);
  following = found.next;
  $("more").hidden = following === null;
  const rows = found.answers.map((item) => {
    const opened = make("div");
    const mark = item.rating === 1 ? "+ " : item.rating === -1 ? "− " : "";
    const details = make("details", { class: "turn" }, make("summary", {}, mark + (item.question || "(no question)")),
      make("span", { class: "who" }, `${item.model}, ${item.created_at.slice(0, 16).replace("T", " ")}${item.user ? ", " + item.user : ""}`), opened);
    details.addEventListener("toggle", guarded(async () => {
      if (!details.open || opened.firstChild) return;
      const whole = await read("/api/answers/" + encodeURIComponent(item.completion_id));
      opened.append(...whole.messages.map((each) => turn(each.role, words(each.content)).box),
        turn("assistant", words(whole.message.content), whole.model, whole.message.reasoning_content).box,
        ...whole.votes.map((vote) => make("p", { class: "quiet" }, `${vote.rating === 1 ? "Good" : vote.rating === -1 ? "Bad" : "No vote"} ${vote.user || ""} ${vote.comment || ""} ${vote.correction ? "Correction: " + vote.correction : ""}`)),
        thumbs(item.completion_id));
    }));
    return details;
  });
  if (more) $("rows").append(...rows);
  else $("rows").replaceChildren(...(rows.length ? rows : [make("p", { class: "quiet" }, "Nothing found.")]));
}

// --- views

const VIEWS = { chat: async () => $("question").focus(), compare: () => compare(), queue, list: () => list(false) };
async function show(view) {
  for (const name of Object.keys(VIEWS)) $(name).hidden = name !== view;
  document.querySelectorAll("[data-view]").forEach((button) => button.setAttribute("aria-current", String(button.dataset.view === view)));
  await VIEWS[view]();
}

async function start() {
  info = await read("/api/info");
  $("login").hidden = true;
  $("model").replaceChildren(...info.models.map((name) => make("option", {}, name)));
  const wanted = location.hash.slice(1);
  await show(wanted in VIEWS ? wanted : "chat");
}

document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", guarded(() => { history_(button.dataset.view); return show(button.dataset.view); })));
function history_(view) { window.history.replaceState(null, "", "#" + view); }
$("ask").addEventListener("submit", guarded(chat));
$("question").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) guarded(chat)(event); });
$("stop").addEventListener("click", () => stopping && stopping.abort());
$("anew").addEventListener("click", () => { if (stopping) stopping.abort(); history = []; $("turns").replaceChildren(); });
$("own").addEventListener("submit", guarded(() => compare([{ role: "user", content: $("own-prompt").value }])));
$("search").addEventListener("submit", guarded(() => list(false)));
$("more").addEventListener("click", guarded(() => list(true)));
$("login").addEventListener("submit", guarded(async () => { token = $("token").value.trim(); $("token").value = ""; await start(); }));
try { $("user").value = localStorage.getItem("haloes-user") || ""; } catch (_) { /* not allowed */ }
$("user").addEventListener("change", () => { try { localStorage.setItem("haloes-user", $("user").value); } catch (_) { /* not allowed */ } });
guarded(start)();
