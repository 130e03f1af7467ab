// The page of `haloes serve`: which view is shown, who is asked for a token, and whether models are being loaded.

import * as answers from "./answers.js";
import * as chat from "./chat.js";
import * as compare from "./compare.js";
import { $, guarded, make, problem } from "./dom.js";
import * as queue from "./queue.js";
import { ofBrowser, ofTab, read } from "./server.js";

const VIEWS = { chat, compare, queue, answers };
const ASK_AGAIN_MS = 500;
let info = null;

async function showView() {
  const [wanted, query] = location.hash.slice(1).split("?");
  const view = Object.hasOwn(VIEWS, wanted) ? wanted : "chat";
  for (const name of Object.keys(VIEWS)) $(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === "#" + view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  await VIEWS[view].show(info, query);
}

function showLoading() {
  const loading = info.loading;
  $("loading").hidden = !loading;
  if (!loading) return;
  $("loading-words").textContent = `Loading the model ${loading.model} (${loading.done + 1} of ${loading.of}); questions wait until all are there.`;
  $("loading-bar").max = loading.of;
  $("loading-bar").value = loading.done;
  setTimeout(guarded(async () => { info = await read("/api/info"); showLoading(); }), ASK_AGAIN_MS);
}

async function start() {
  info = await read("/api/info");
  $("login").hidden = true;
  $("model").replaceChildren(...info.models.map((name) => make("option", {}, name)));
  const last = ofTab.get("model");
  if (info.models.includes(last)) $("model").value = last;
  showLoading();
  await showView();
  problem(info.problem); // what was logged can be seen and rated all the same
}

addEventListener("hashchange", guarded(() => info && showView()));
$("login").addEventListener("submit", guarded(async () => { ofTab.set("token", $("token").value.trim()); $("token").value = ""; await start(); }));
$("user").value = ofBrowser.get("user") || "";
$("user").addEventListener("change", () => ofBrowser.set("user", $("user").value));
guarded(start)();
