// Live: talk by voice over /v1/realtime. The microphone goes out in blocks of 40 ms, replies come in and are played
// behind a jitter buffer; who speaks, or presses Escape, stops them, and what was not played is greyed.

import { $, announce, complain, h } from "./dom.js";
import { named, t } from "./i18n.js";

const RATES = [24_000, 48_000]; // Hz that the server takes; the browser resamples the microphone

let server;
let talk = null;

export function prepare(about) {
  server = about;
  $("live-toggle").addEventListener("click", () => (talk ? talk.end() : begin()));
  $("live-interrupt").addEventListener("click", () => talk?.interrupt());
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && talk?.state === "speaking") talk.interrupt();
  });
  addEventListener("pagehide", () => talk?.end());
  show("off");
}

export function redraw() {
  show(talk?.state ?? "off");
}

/** Leave the talk, as when another view is opened. */
export function leave() {
  talk?.end();
}

function show(state) {
  $("talk-live").dataset.state = state;
  $("live-state").textContent = t(`live.${state}`);
  $("live-toggle").textContent = t(state === "off" ? "live.start" : "live.end");
  $("live-toggle").setAttribute("aria-pressed", String(state !== "off"));
  $("live-interrupt").hidden = state !== "speaking";
}

async function begin() {
  complain("");
  show("connecting");
  try {
    const name = server.modelName();
    const { tasks } = await server.model(name);
    talk = await Talk.open(name, new Map(tasks.map((task) => [task.name, task.sets[0]])));
  } catch (fault) {
    talk = null;
    show("off");
    complain(t("record.refused", { why: fault.message }));
  }
}

async function contextOf(stream) {
  for (const sampleRate of RATES) {
    const context = new AudioContext({ sampleRate });
    try {
      return { context, source: context.createMediaStreamSource(stream) };
    } catch {
      await context.close(); // this browser does not resample a microphone to that rate
    }
  }
  throw new Error(t("live.rate"));
}

class Talk {
  static async open(model, sets) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: false },
    });
    try {
      const { context, source } = await contextOf(stream);
      const here = (name) => new URL(name, import.meta.url).href;
      await Promise.all([context.audioWorklet.addModule(here("capture.js")), context.audioWorklet.addModule(here("playback.js"))]);
      return new Talk(model, sets, stream, context, source);
    } catch (fault) {
      stream.getTracks().forEach((track) => track.stop());
      throw fault;
    }
  }

  constructor(model, sets, stream, context, source) {
    Object.assign(this, { model, sets, stream, context, state: "connecting", turns: new Map(), item: null, played: 0, sent: 0 });
    this.microphone = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.player = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    source.connect(this.microphone);
    this.player.connect(context.destination);
    this.microphone.port.onmessage = ({ data }) => this.hear(data);
    this.player.port.onmessage = ({ data }) => this.progress(data);
    const url = new URL("../../v1/realtime", import.meta.url);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ model });
    const key = sessionStorage.getItem("key");
    this.socket = new WebSocket(url, ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : [])]);
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  send(type, fields = {}) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  // The microphone

  hear({ samples, level }) {
    $("live-level").style.setProperty("--level", level);
    if (this.state === "connecting") return;
    const bytes = new Uint8Array(samples.buffer);
    this.send("input_audio_buffer.append", { audio: btoa(String.fromCharCode(...bytes)) });
  }

  // What comes

  take(event) {
    const act = this[ACTS[event.type]];
    if (act) act.call(this, event);
  }

  created() {
    const format = { type: "audio/pcm", rate: this.context.sampleRate };
    const input = { format, transcription: {}, turn_detection: { type: "semantic_vad" } };
    const audio = { input, output: { format } };
    this.send("session.update", { session: { type: "realtime", include: ["osum.labels", "osum.thinking"], audio } });
  }

  updated() {
    if (this.state === "connecting") this.become("listening");
  }

  started() {
    this.stopPlaying();
    this.become("hearing");
  }

  committed() {
    this.become("thinking");
  }

  dropped() {
    if (this.state === "hearing") this.become("listening");
  }

  added({ item }) {
    const mine = item.role === "user";
    const turn = new Turn(mine, this.model);
    this.turns.set(item.id, turn);
    $("turns").append(turn.element);
    turn.element.scrollIntoView({ block: "nearest" });
    if (!mine) [this.item, this.played, this.sent] = [item.id, 0, 0];
  }

  written({ item_id: id, transcript, osum }) {
    const labels = Object.entries(osum?.labels ?? {}).map(([task, { label }]) => [this.sets.get(task) ?? task, label]);
    this.turns.get(id)?.finish(transcript, labels);
  }

  thought({ item_id: id, delta }) {
    this.turns.get(id)?.think(delta);
  }

  text({ item_id: id, delta }) {
    this.turns.get(id)?.write(delta);
  }

  sound({ item_id: item, delta }) {
    const bytes = Uint8Array.from(atob(delta), (letter) => letter.charCodeAt(0));
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32768);
    this.sent += samples.length;
    this.player.port.postMessage({ item, samples }, [samples.buffer]);
    if (this.state !== "hearing") this.become("speaking");
  }

  done({ response }) {
    this.player.port.postMessage({ end: true });
    const [item] = response.output;
    this.turns.get(item?.id)?.finish(item.content[0].transcript ?? item.content[0].text);
    if (response.status === "failed") complain(response.status_details.error.message);
    if (!this.sent && this.state !== "hearing") this.become("listening");
  }

  retrieved({ item }) {
    this.turns.get(item.id)?.keep(item.content[0]?.transcript ?? "");
  }

  failed({ error }) {
    if (error.code !== "response_cancel_not_active") complain(error.message);
  }

  // Playing

  progress({ item, played, idle }) {
    if (item === this.item && item !== null) this.played = played;
    if (idle && this.state === "speaking") {
      [this.item, this.sent] = [null, 0];
      this.become("listening");
    }
  }

  /** Play nothing more, and tell the server how much was played. */
  stopPlaying() {
    this.player.port.postMessage({ clear: true });
    if (this.item === null || !this.turns.has(this.item)) return;
    const ms = Math.floor((1000 * this.played) / this.context.sampleRate);
    this.send("conversation.item.truncate", { item_id: this.item, content_index: 0, audio_end_ms: ms });
    this.send("conversation.item.retrieve", { item_id: this.item });
    this.item = null;
  }

  interrupt() {
    this.stopPlaying();
    this.become("listening");
  }

  become(state) {
    this.state = state;
    show(state);
    if (state === "listening" || state === "speaking") announce(t(`live.${state}`));
  }

  // The end

  end() {
    this.socket.close(1000);
  }

  closed(code, reason) {
    if (talk === this) talk = null;
    this.stream.getTracks().forEach((track) => track.stop());
    this.context.close();
    $("live-level").style.setProperty("--level", 0);
    show("off");
    if (code !== 1000 && code !== 1005) complain(reason || t("live.lost"));
  }
}

const ACTS = {
  "session.created": "created",
  "session.updated": "updated",
  "input_audio_buffer.speech_started": "started",
  "input_audio_buffer.committed": "committed",
  "input_audio_buffer.cleared": "dropped",
  "conversation.item.added": "added",
  "conversation.item.input_audio_transcription.completed": "written",
  "conversation.item.retrieved": "retrieved",
  "osum.thinking.delta": "thought",
  "response.output_audio_transcript.delta": "text",
  "response.output_text.delta": "text",
  "response.output_audio.delta": "sound",
  "response.done": "done",
  error: "failed",
};

/** What one side says, as it comes. */
class Turn {
  constructor(mine, model) {
    this.text = "";
    this.words = h("p", { class: "waiting" }, "…");
    this.cues = h("p", { class: "cues", "aria-label": t("talk.cues"), hidden: true });
    this.thoughts = h("p", {});
    this.thinking = h("details", { class: "thought", hidden: true, open: true }, h("summary", {}, t("talk.thought")), this.thoughts);
    this.element = h("div", { class: `turn ${mine ? "you" : "model"}` }, h("span", { class: "who" }, mine ? t("talk.you") : model),
      h("div", { class: "bubble" }, this.cues, this.thinking, this.words));
  }

  think(text) {
    this.thinking.hidden = false;
    this.thoughts.append(text);
  }

  write(text) {
    this.text += text;
    this.words.className = "";
    this.words.textContent = this.text;
  }

  finish(text, labels = []) {
    if (!this.element.querySelector(".cut")) {
      this.text = "";
      this.write(text || t("talk.silent"));
    }
    const known = labels.filter(([, label]) => label && label !== "none");
    this.cues.replaceChildren(...known.map(([name, label]) => h("span", { class: `cue ${name}` }, h("small", {}, named(name)), ` ${named(label)}`)));
    this.cues.hidden = !known.length;
  }

  /** Grey what was cut off. */
  keep(kept) {
    if (!this.text.startsWith(kept) || this.text === kept) return;
    this.words.replaceChildren(kept, h("s", { class: "cut", title: t("live.cut") }, this.text.slice(kept.length)));
  }
}
