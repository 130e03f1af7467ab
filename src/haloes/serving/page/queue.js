// The queue: logged answers that nobody has voted on.

import { $, guarded, make, turn } from "./dom.js";
import { read } from "./server.js";
import { thumbs } from "./votes.js";

export async function show() {
  const found = await read("/api/queue?limit=10");
  const open = new Set(found.answers.map((each) => each.completion_id));
  let left = found.left;
  const order = !found.scored ? "the newest first" : `the least certain first: the implied reward nearest to the median of ${found.middle.toFixed(2)} nats`;
  const others = found.scored && found.scored < found.left ? `, then ${found.left - found.scored} without a reward, the newest first` : "";
  function count() {
    $("left").textContent = left ? `${left} ${left === 1 ? "answer waits" : "answers wait"} for a vote, ${order}${others}.` : "No answer waits for a vote.";
  }
  const voted = (name) => (value) => {
    if (value === null ? !open.has(name) : open.has(name)) {
      left += value === null ? 1 : -1;
      if (value === null) open.add(name); else open.delete(name);
      count();
    }
    more.hidden = open.size > 0 || !left;
  };
  const more = make("button", { type: "button", hidden: true, onclick: guarded(async () => { await show(); $("queue").scrollIntoView(); }) }, "Next answers");
  count();
  $("waiting").replaceChildren(...found.answers.map((each) => make("article", {},
    ...each.messages.map((message) => turn(message).box), turn(each.message, each.model).box,
    thumbs(each.completion_id, { after: voted(each.completion_id) }))), more);
}
