"use strict";

// What is copied by a click.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    const word = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = word; }, 1500);
  } catch {
    getSelection().selectAllChildren(source);
  }
});

// On a phone the navigation is longer than the screen.
const here = document.querySelector(".side [aria-current]");
if (here) {
  const side = here.closest(".side");
  // scrollIntoView would also move where the Tab key begins.
  side.scrollLeft = here.offsetLeft - (side.clientWidth - here.offsetWidth) / 2;
}

// What is asked again before it is done.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Parts that are live are taken from the same page again, while somebody looks.
async function renew() {
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length || document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts) {
      const next = page.getElementById(part.id);
      if (next && !part.contains(document.activeElement)) part.replaceWith(document.adoptNode(next));
    }
  } catch { /* the next look may succeed */ }
}
if (document.querySelector("[data-live]")) setInterval(renew, 5000);

// One chat, to see whether a key works.
const chat = document.getElementById("chat");
if (chat) {
  const said = document.getElementById("said");
  const told = document.getElementById("told");
  let stop = null;
  chat.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (stop) { stop.abort(); return; }
    const fields = new FormData(chat);
    const send = chat.querySelector("button[type=submit]");
    stop = new AbortController();
    send.textContent = "Stop";
    said.textContent = "";
    told.textContent = "Waiting for the first token…";
    const begun = performance.now();
    let first = null;
    try {
      const answer = await fetch(chat.dataset.api, {
        method: "POST",
        signal: stop.signal,
        headers: { "content-type": "application/json", authorization: "Bearer " + fields.get("key").trim() },
        body: JSON.stringify({
          model: fields.get("model"),
          stream: true,
          stream_options: { include_usage: true },
          messages: [{ role: "user", content: fields.get("prompt") }],
        }),
      });
      const id = answer.headers.get("x-request-id");
      if (!answer.ok) {
        const body = await answer.json().catch(() => ({}));
        throw new Error(`${answer.status}: ${body.error?.message ?? "no reason given"} (request ${id})`);
      }
      let usage = null;
      for await (const data of events(answer.body)) {
        if (data === "[DONE]") break;
        const event = JSON.parse(data);
        if (event.error) throw new Error(event.error.message);
        const delta = event.choices?.[0]?.delta;
        const text = delta?.content ?? delta?.reasoning_content ?? "";
        if (text) {
          if (first === null) {
            first = performance.now() - begun;
            told.textContent = `First token after ${Math.round(first)} ms…`;
          }
          said.textContent += text;
        }
        if (event.usage) usage = event.usage;
      }
      const seconds = (performance.now() - begun) / 1000;
      const counts = usage ? `${usage.prompt_tokens} tokens in, ${usage.completion_tokens} out` : "no counts of tokens";
      told.textContent = `First token after ${Math.round(first ?? seconds * 1000)} ms · ${counts} · ${seconds.toFixed(1)} s in all · request ${id}`;
    } catch (error) {
      told.textContent = error.name === "AbortError" ? "Stopped." : error.message;
    } finally {
      stop = null;
      send.textContent = "Send";
    }
  });
}

// The data of an event stream (HTML standard, section 9.2.6).
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value.replaceAll("\r\n", "\n");
    let end;
    while ((end = held.indexOf("\n\n")) >= 0) {
      const lines = held.slice(0, end).split("\n");
      held = held.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      if (data.length) yield data.join("\n");
    }
  }
}
