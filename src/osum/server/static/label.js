// Label: one recording, everything that a model says of it.

import { Answers, downloads, lanesOf, transcriptOf } from "./answers.js";
import { post, send } from "./api.js";
import { $, announce, clock, complain, h, save } from "./dom.js";
import { named, t } from "./i18n.js";
import { playable, record } from "./sound.js";
import { Timeline } from "./timeline.js";

let server; // what the page knows of it: state, model(), choose()
let clip = null; // {file, sound}: what is sent, and what is drawn
let shown = null; // {answer, model, timeline} on the page
let running = null;

/** The recording that was given last, for other views. */
export const currentClip = () => clip;

/** A file as {file, sound}: what this browser cannot decode is drawn and played from the server's wav. */
async function clipOf(file) {
  return { file, sound: (await playable(file)) ? file : await (await post("sound", { file })).blob() };
}

export async function take(file) {
  complain("");
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const result = $("result");
  shown?.timeline.destroy();
  shown = null;
  result.hidden = false;
  $("view-label").classList.add("answered");
  const name = server.modelName();
  try {
    result.replaceChildren(working(file.name, name));
    clip = await clipOf(file);
    const timeline = new Timeline();
    result.replaceChildren(soundCard(timeline), working(file.name, name));
    await timeline.load(clip.sound);
    const model = await server.model(name);
    const response = await post("label", { file, model: name, tasks: chosenTasks() }, { signal });
    show(timeline, await response.json(), model);
  } catch (fault) {
    if (signal.aborted) return;
    result.hidden = true;
    $("view-label").classList.remove("answered");
    complain(fault.message);
  }
}

function working(file, name) {
  const stop = h("button", { type: "button", class: "quiet", onclick: () => {
    running.abort();
    $("result").hidden = true;
    $("view-label").classList.remove("answered");
    announce(t("stopped"));
  } }, t("cancel"));
  announce(t("working", { model: name }));
  return h("div", { class: "working card" }, h("i", { class: "pulse", "aria-hidden": "true" }), h("span", { class: "grow" }, t("working", { model: name })), stop);
}

function soundCard(timeline, answer) {
  const seconds = answer?.row.duration;
  const about = answer ? [`${clock(seconds, false)}`, answer.row.model, answer.row.language && named(answer.row.language)] : [];
  const other = h("label", { class: "button small" }, t("drop.other"), h("input", { type: "file", class: "sr", accept: "audio/*,video/mp4,video/webm,.flac,.opus,.m4a", onchange: (event) => event.target.files[0] && take(event.target.files[0]) }));
  const again = h("button", { type: "button", class: "button small", onclick: recordOne }, h("span", { class: "dot" }), t("record"));
  return h("section", { class: "card sound", "aria-labelledby": "h-sound" },
    h("div", { class: "head" }, h("h1", { id: "h-sound", tabindex: "-1" }, clip.file.name), h("p", { class: "soft" }, about.filter(Boolean).join(" · ")), h("span", { class: "grow" }), other, again),
    timeline.element);
}

async function recordOne() {
  complain("");
  const file = await record();
  if (file) await take(file);
}

function show(timeline, answer, model) {
  shown = { answer, model, timeline };
  const answers = new Answers(answer, model);
  const words = transcriptOf(answer, timeline);
  timeline.onTime = words.follow;
  timeline.setLanes(lanesOf(answer, { open: (segment, column) => answers.open(segment, column) }));
  const text = h("section", { class: "card", "aria-labelledby": "h-transcript" },
    h("h2", { id: "h-transcript" }, t("transcript")), words.element,
    answer.row.words?.length ? h("p", { class: "soft small" }, t("transcript.note")) : null,
    answer.row.warnings?.map((warning) => h("p", { class: "soft small", lang: "en" }, warning)),
    answer.row.reply ? [h("h3", {}, t("reply")), h("blockquote", {}, answer.row.reply)] : null);
  const at = clip; // what was answered, whatever is dropped later
  const fetchFile = async (format) => {
    complain("");
    try {
      const response = await send("export", "POST", { row: answer.row, format });
      const stem = at.file.name.replace(/\.[^.]*$/, "");
      save(await response.blob(), `${stem}${response.headers.get("x-suffix") ?? `.${format}`}`);
    } catch (fault) {
      complain(fault.message);
    }
  };
  $("result").replaceChildren(soundCard(timeline, answer),
    h("div", { class: "columns" }, h("div", {}, text, questions(at), downloads(server.state.formats, fetchFile)), answers.element));
  timeline.resize();
  timeline.repaint(); // a waveform that is moved is empty
  $("again").hidden = false;
  $("h-sound").focus({ preventScroll: true });
  announce(t("ready", { name: at.file.name, count: Object.keys(answer.row.labels ?? {}).length }));
}

/** A question of one's own, and what was answered. */
function questions(at) {
  const list = h("ol", { class: "asked", "aria-live": "polite" });
  const field = h("input", { name: "question", required: true, maxlength: "2000", autocomplete: "off", placeholder: t("ask.field"), "aria-label": t("ask.field") });
  const button = h("button", { class: "button" }, t("ask.run"));
  const form = h("form", { class: "row", onsubmit: async (event) => {
    event.preventDefault();
    complain("");
    button.disabled = true;
    try {
      const found = await (await post("ask", { file: at.file, model: server.modelName(), question: field.value })).json();
      list.prepend(h("li", {}, h("p", { class: "q" }, found.prompt), h("p", { class: found.answer ? "a" : "a soft" }, found.answer || t("ask.empty")), h("p", { class: "soft small" }, found.model)));
      field.value = "";
    } catch (fault) {
      complain(fault.message);
    }
    button.disabled = false;
  } }, field, button);
  return h("section", { class: "card", "aria-labelledby": "h-ask" }, h("h2", { id: "h-ask" }, t("ask.title")), form, list);
}

function chosenTasks() {
  const boxes = [...$("tasks").querySelectorAll("input")];
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  return chosen.length ? chosen : boxes.map((box) => box.value);
}

/** The tasks of a model as boxes; what was not wanted before stays so. */
export function drawTasks(model) {
  const off = new Set([...$("tasks").querySelectorAll("input:not(:checked)")].map((box) => box.value));
  const boxes = model.tasks.filter((task) => task.main).map((task) =>
    h("label", { class: "chip" }, h("input", { type: "checkbox", value: task.name, checked: !off.has(task.name) }), h("span", {}, named(task.title))));
  $("tasks").replaceChildren(h("legend", { class: "sr" }, t("asked.title")), ...boxes);
}

export function redraw() {
  if (shown) show(shown.timeline, shown.answer, shown.model);
}

export const repaint = () => shown?.timeline.repaint();

const ART = [12, 26, 40, 20, 52, 34, 56, 30, 44, 18, 36, 22, 10]; // pixels

export function prepare(about) {
  server = about;
  $("art").replaceChildren(...ART.map((height) => h("i", { style: { "--h": String(height) } })));
  const drop = $("drop");
  $("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
  $("record").addEventListener("click", recordOne);
  $("again").addEventListener("click", () => clip && take(clip.file));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    window.addEventListener(kind, (event) => {
      if ($("view-label").hidden || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }
}

