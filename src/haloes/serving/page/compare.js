// The blind comparison: two answers side by side, whose models are named once the vote is kept.

import { $, guarded, make, turn } from "./dom.js";
import { ofTab, read, send, user } from "./server.js";

const VERDICTS = [["left", "Left is better"], ["right", "Right is better"], ["tie", "Equally good"], ["both_bad", "Both bad"]];
let current = null; // how to vote on the pair that is shown
let asking = null; // the request for a pair that is on its way: one at a time, but for a prompt of one's own

const percent = (share) => Math.round(100 * share) + " %";

// The win rate on a line from 0 to 100 %, with its interval and the middle.
function line(tally) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 4");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const bars = [["track", 0, 1], ["interval", tally.low, tally.high], ["middle", 0.4975, 0.5025], ["rate", tally.win_rate - 0.005, tally.win_rate + 0.005]];
  for (const [name, from, to] of bars) {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const [y, height] = name === "track" ? [1.5, 1] : [0, 4];
    for (const [key, value] of Object.entries({ class: name, x: 100 * from, width: 100 * (to - from), y, height })) bar.setAttribute(key, value);
    svg.append(bar);
  }
  return svg;
}

function showTally(tally) {
  const counts = `${tally.votes} ${tally.votes === 1 ? "vote" : "votes"}`;
  const known = tally.win_rate !== null;
  const rate = known ? `${tally.candidate} wins ${percent(tally.win_rate)} of ${counts} (95 % interval: ${percent(tally.low)} to ${percent(tally.high)}).` : `${counts}.`;
  const more = tally.more_votes ? `It takes ${tally.more_votes} more to see a difference of 10 points.` : "They are enough to see a difference of 10 points.";
  const left = tally.prompts_left ? ` ${tally.prompts_left} ${tally.prompts_left === 1 ? "prompt" : "prompts"} left.` : "";
  $("tally").replaceChildren(make("strong", {}, rate), ...(known ? [line(tally)] : []), make("div", { class: "quiet" }, more + left));
}

function showLast(pair, verdict, told) {
  const text = VERDICTS.find(([name]) => name === verdict)[1];
  $("last").replaceChildren(`Kept: ${text}. Left was ${told.left.model}, right was ${told.right.model}. `,
    make("button", { type: "button", onclick: guarded(() => showPair(pair)) }, "Change this vote"));
  $("last").hidden = false;
}

function showPair(pair) {
  const sides = [turn({ role: "assistant", ...pair.left }, "Left"), turn({ role: "assistant", ...pair.right }, "Right")];
  const reason = make("input", { class: "grow", "aria-label": "Why? (optional)", placeholder: "Why? (optional)" });
  let sending = false;
  async function vote(verdict) {
    if (sending) return;
    sending = true;
    try {
      const told = await send(`/api/comparisons/${pair.id}/vote`, { verdict, comment: reason.value || null, user: user() });
      if (ofTab.get("pair")?.id === pair.id) ofTab.set("pair", null); // else the vote was changed while another waits
      showLast(pair, verdict, told);
      await next(told.tally);
    } catch (error) {
      sending = false;
      if (error.code === "unknown_completion") ofTab.set("pair", null); // of another store
      throw error;
    }
  }
  const buttons = VERDICTS.map(([name, text], i) =>
    make("button", { type: "button", "aria-keyshortcuts": i + 1, onclick: guarded(() => vote(name)) }, make("kbd", {}, String(i + 1)), " " + text));
  $("pair").replaceChildren(...pair.messages.map((each) => turn(each).box),
    make("div", { class: "sides" }, ...sides.map((side) => side.box)), make("div", { class: "row" }, ...buttons), reason);
  current = vote;
  // So that it is read out, and a key for a button reaches none of the last pair.
  $("pair").focus({ preventScroll: true });
  if ($("pair").getBoundingClientRect().top < 0) $("pair").scrollIntoView();
}

function showAsking() {
  $("pair").replaceChildren(make("p", { class: "quiet", role: "status" }, "Both answer …"));
}

async function begin(request) {
  const mine = asking = {};
  showAsking();
  try {
    const pair = await send("/api/comparisons", { ...request, user: user() });
    if (asking !== mine) return;
    ofTab.set("pair", pair);
    if (!current) showPair(pair); // else the last pair is shown again, to change its vote
  } catch (error) {
    if (asking !== mine) return;
    if (!current) $("pair").replaceChildren();
    throw error;
  } finally {
    if (asking === mine) asking = null;
  }
}

async function next(tally) {
  current = null;
  showTally(tally);
  const waits = ofTab.get("pair");
  if (waits) showPair(waits);
  else if (asking) showAsking();
  else if (tally.prompts_left) await begin({});
  else $("pair").replaceChildren(make("p", {}, "No prompt is left that you have not voted on; give one of your own."));
}

async function own() {
  current = null;
  $("last").hidden = true;
  await begin({ messages: [{ role: "user", content: $("own-prompt").value }] });
  $("own-prompt").value = "";
}

export async function show(info) {
  if (!info.compared) {
    $("pair").replaceChildren(make("p", {}, "There are no two models to compare: start the server with --compare A,B."));
    $("own").hidden = true;
    return;
  }
  const tally = await read("/api/comparisons/tally?" + new URLSearchParams(user() ? { user: user() } : {}));
  await next(tally);
}

document.addEventListener("keydown", (event) => {
  const writes = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if ($("compare").hidden || !current || writes || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const verdict = VERDICTS[["1", "2", "3", "4"].indexOf(event.key)];
  if (verdict) guarded(() => current(verdict[0]))(event);
});
$("own").addEventListener("submit", guarded(own));
