// A vote on one answer: good or bad, and then why, and what would have been better.

import { guarded, make } from "./dom.js";
import { send, user } from "./server.js";

// A form for votes on an answer. `votes` are those that were given; `after` is told of each new rating.
export function thumbs(completion, { votes = [], after = () => {} } = {}) {
  const mine = votes.findLast((vote) => vote.user === user()) || {};
  let rating = mine.rating ?? null;
  const reason = make("input", { class: "grow", "aria-label": "Why? (optional)", placeholder: "Why? (optional)" });
  const better = make("textarea", { "aria-label": "A better answer (optional)", placeholder: "A better answer (optional)" });
  reason.value = mine.comment || "";
  better.value = mine.correction || "";
  const told = make("span", { class: "quiet", role: "status" });
  const buttons = [[1, "Good"], [-1, "Bad"]].map(([value, text]) =>
    make("button", { type: "button", onclick: guarded(() => vote(rating === value ? null : value)) }, text));
  const save = make("button", {}, "Save");
  const more = make("div", {}, make("div", { class: "row" }, reason, save), better);

  function show() {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(rating === [1, -1][i])));
    more.hidden = rating === null;
    better.hidden = rating !== -1;
  }

  async function vote(value) {
    const comment = value === null ? null : reason.value || null;
    const correction = value === -1 ? better.value || null : null;
    await send("/v1/feedback", { completion_id: completion, rating: value, comment, correction, user: user() });
    rating = value;
    show();
    told.textContent = value === null ? "Vote taken back" : correction ? "Kept with your answer" : comment ? "Kept with your reason" : "Kept";
    after(value);
  }

  show();
  return make("form", { "aria-label": "Your vote", onsubmit: guarded(() => vote(rating)) },
    make("div", { class: "row" }, ...buttons, told), more);
}
