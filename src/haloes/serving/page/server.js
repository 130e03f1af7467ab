// Requests to the server, and what the browser keeps of the page.

import { $ } from "./dom.js";

// Values under names, as JSON; a browser that forbids it keeps nothing.
const kept = (place) => ({
  get(name) { try { return JSON.parse(place().getItem("haloes-" + name)); } catch { return null; } },
  set(name, value) { try { place().setItem("haloes-" + name, JSON.stringify(value)); } catch { /* forbidden, or full */ } },
});
export const ofTab = kept(() => sessionStorage);
export const ofBrowser = kept(() => localStorage);

export const user = () => $("user").value.trim() || null;

export async function ask(method, path, body, signal) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const token = ofTab.get("token");
  if (token) headers.Authorization = "Bearer " + token;
  const reply = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (reply.ok) return reply;
  const told = await reply.json().then((each) => each.error, () => null);
  if (reply.status === 401) { $("login").hidden = false; $("token").focus(); }
  throw Object.assign(new Error(told?.message || "The server answers " + reply.status), { code: told?.code });
}

export const read = async (path) => (await ask("GET", path)).json();
export const send = async (path, body) => (await ask("POST", path, body)).json();

// The choices of an answer that is streamed, one after the other.
export async function* choices(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:") || line.slice(5).trim() === "[DONE]") continue;
      const event = JSON.parse(line.slice(5));
      if (event.error) throw new Error(event.error.message || "The answer broke off");
      if (event.choices?.length) yield event.choices[0];
    }
  }
}
