// Talk: typed and recorded turns; of each reply its thought, what was recognised of the speaker, text and sound.

import { lines, post } from "./api.js";
import { $, announce, complain, h } from "./dom.js";
import { named, t } from "./i18n.js";
import * as live from "./live.js";
import { record } from "./sound.js";

const REMEMBERED = 11; // turns: five exchanges before the one that is asked

let server;
let history = []; // turns as the server reads them, each of the user's with its recording as `file`
let busy = false;

export function prepare(about) {
  server = about;
  live.prepare(about);
  $("composer").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = event.target.elements.words;
    if (field.value.trim()) await say({ text: field.value.trim() });
    field.value = "";
    field.focus();
  });
  $("talk-record").addEventListener("click", async () => {
    const file = await record();
    if (file) await say({ file });
  });
  $("talk-clear").addEventListener("click", () => {
    history = [];
    $("turns").replaceChildren();
  });
}

export const redraw = live.redraw;
export const leave = live.leave;

export async function enter() {
  const name = server.modelName();
  const model = await server.model(name);
  $("talk-note").textContent = t(model.dialogue ? "talk.dialogue" : "talk.clips", { model: name });
  $("composer").elements.words.disabled = !model.dialogue;
  $("composer").querySelector(".primary").disabled = !model.dialogue;
  $("composer").elements.words.placeholder = model.dialogue ? t("talk.say") : t("talk.typed", { model: name });
  $("thinking-label").hidden = !model.dialogue;
}

async function say({ text = "", file = null }) {
  if (busy) return;
  busy = true;
  complain("");
  const name = server.modelName();
  const model = await server.model(name);
  if (!model.dialogue) history = [];
  history.push({ role: "user", text, file });
  const said = file ? h("audio", { controls: true, src: URL.createObjectURL(file), "aria-label": t("talk.spoken") }) : text;
  $("turns").append(h("div", { class: "turn you" }, h("span", { class: "who" }, t("talk.you")), h("div", { class: "bubble" }, said)));
  const reply = new Reply(name);
  $("turns").append(reply.element);
  reply.element.scrollIntoView({ block: "nearest" });
  try {
    const response = await post("talk", conversation(name));
    for await (const piece of lines(response)) {
      if (piece.error) throw new Error(piece.error.message);
      reply.take(piece);
    }
    history.push({ role: "assistant", text: reply.text });
    if (!reply.text) history.splice(-2); // a turn that was not answered cannot be continued
    announce(reply.text || t("talk.silent"));
  } catch (fault) {
    history.pop();
    reply.element.remove();
    complain(fault.message);
  }
  busy = false;
}

/** The request for the next reply: the last turns, and a part for each recording that they name. */
function conversation(model) {
  const last = history.slice(-REMEMBERED);
  const turns = last.map(({ role, text, file }, index) => ({ role, text, ...(file ? { sound: `sound${index}` } : {}) }));
  const sounds = last.flatMap(({ file }, index) => (file ? [[`sound${index}`, file]] : []));
  return { request: JSON.stringify({ model, turns, thinking: $("thinking").value }), ...Object.fromEntries(sounds) };
}

/** One reply as it comes. */
class Reply {
  constructor(name) {
    this.text = "";
    this.words = h("p", { class: "waiting" }, "…");
    this.extra = h("div", { class: "extra" });
    this.thought = h("p", {});
    this.thinking = h("details", { class: "thought", hidden: true, open: true }, h("summary", {}, t("talk.thought")), this.thought);
    this.element = h("div", { class: "turn model" }, h("span", { class: "who" }, name),
      h("div", { class: "bubble" }, this.extra, this.thinking, this.words));
  }

  take(piece) {
    if (piece.thought !== undefined) {
      this.thinking.hidden = false;
      this.thought.append(piece.thought);
    }
    if (piece.text !== undefined) this.write(this.text + piece.text);
    if (piece.reply) this.finish(piece.reply);
  }

  write(text) {
    this.text = text;
    this.words.className = "";
    this.words.textContent = text;
  }

  finish(reply) {
    this.write(reply.text);
    if (!reply.text) {
      this.words.className = "soft";
      this.words.textContent = t("talk.silent");
    }
    const cues = Object.entries(reply.cues);
    if (cues.length) this.extra.append(h("p", { class: "cues", "aria-label": t("talk.cues") }, cues.map(([name, value]) => h("span", { class: `cue ${name}` }, h("small", {}, named(name)), ` ${named(value)}`))));
    if (reply.heard) this.extra.append(h("p", { class: "soft small" }, `“${reply.heard}”`));
    if (reply.thought) {
      this.thinking.hidden = false;
      this.thought.textContent = reply.thought;
    }
    if (reply.audio) this.words.after(h("audio", { controls: true, autoplay: true, src: `data:audio/wav;base64,${reply.audio}`, "aria-label": t("reply") }));
    if (!reply.ended) this.words.after(h("p", { class: "soft small" }, t("talk.cut")));
  }
}
