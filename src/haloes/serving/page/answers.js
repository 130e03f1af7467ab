// The list of all answers, with search; what was searched stands in the address, so that a reload shows it again.

import { $, guarded, make, turn } from "./dom.js";
import { read } from "./server.js";
import { thumbs } from "./votes.js";

const FIELDS = { search: "words", rating: "rating", model: "of-model" };
const BLIND = "a model that is named after the vote";
const RATINGS = { 1: "Good", "-1": "Bad" };
let following = null;
let lists = 0; // how many were asked for: only the last one comes onto the page

function described(vote) {
  const who = [RATINGS[vote.rating] || "No rating", vote.user && "by " + vote.user].filter(Boolean).join(" ");
  return who + [vote.comment && ": " + vote.comment, vote.correction && "\nBetter: " + vote.correction].filter(Boolean).join("");
}

function row(item) {
  const opened = make("div");
  const from = [item.model || BLIND, item.created_at.slice(0, 16).replace("T", " "), item.user].filter(Boolean).join(", ");
  const line = make("span", { class: "line" }, ...(item.rating ? [make("strong", {}, RATINGS[item.rating] + ": ")] : []), item.question || "(no question)",
    make("span", { class: "cut" }, item.answer), make("span", { class: "who" }, from));
  const details = make("details", { class: "turn" }, make("summary", {}, line), opened);
  details.addEventListener("toggle", guarded(async () => {
    if (!details.open || opened.firstChild) return;
    const whole = await read("/api/answers/" + encodeURIComponent(item.completion_id));
    opened.append(...whole.messages.map((each) => turn(each).box), turn(whole.message, whole.model || BLIND).box,
      ...whole.votes.map((vote) => make("p", { class: "quiet words" }, described(vote))), thumbs(item.completion_id, { votes: whole.votes }));
  }));
  return details;
}

async function list(more) {
  const mine = ++lists;
  const wanted = new URLSearchParams(Object.entries(FIELDS).map(([name, id]) => [name, $(id).value]));
  history.replaceState(null, "", "#answers?" + wanted);
  const page = new URLSearchParams(wanted);
  page.set("limit", "30");
  if (more) page.set("before", following);
  const found = await read("/api/answers?" + page);
  if (mine !== lists) return;
  following = found.next;
  $("more").hidden = following === null;
  if (more) $("rows").append(...found.answers.map(row));
  else $("rows").replaceChildren(...(found.answers.length ? found.answers.map(row) : [make("p", { class: "quiet", role: "status" }, "Nothing found.")]));
}

export async function show(info, query) {
  if (!$("of-model").options.length) $("of-model").append(make("option", { value: "" }, "all"), ...info.models.map((name) => make("option", {}, name)));
  const wanted = new URLSearchParams(query);
  for (const [name, id] of Object.entries(FIELDS)) if (wanted.has(name)) $(id).value = wanted.get(name);
  await list(false);
}

$("search").addEventListener("submit", guarded(() => list(false)));
for (const id of ["rating", "of-model"]) $(id).addEventListener("change", guarded(() => list(false)));
$("more").addEventListener("click", guarded(() => list(true)));
