// Recordings: from the microphone as wav, and whether this browser can play a file.

import { $, clock, complain } from "./dom.js";
import { t } from "./i18n.js";

const LONGEST = 600; // seconds

/** Samples of 16 bit, mono, as a wav file. */
export function wav(blocks, rate) {
  const length = blocks.reduce((sum, block) => sum + block.length, 0);
  const buffer = new ArrayBuffer(44 + 2 * length);
  const view = new DataView(buffer);
  const text = (at, word) => [...word].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * length, true);
  let at = 44;
  for (const block of blocks) for (const sample of block) {
    view.setInt16(at, sample, true);
    at += 2;
  }
  return new Blob([buffer], { type: "audio/wav" });
}

/** Record until the user stops; null where it was cancelled. */
export async function record() {
  let stream, context;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: false },
    });
    context = new AudioContext();
    await context.audioWorklet.addModule(new URL("capture.js", import.meta.url).href);
  } catch (fault) {
    stream?.getTracks().forEach((track) => track.stop());
    complain(t("record.refused", { why: fault.message }));
    return null;
  }
  const blocks = [];
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  const dialog = $("recorder");
  let seconds = 0;
  node.port.onmessage = ({ data }) => {
    blocks.push(data.samples);
    seconds += data.samples.length / context.sampleRate;
    $("clock").textContent = clock(seconds, false);
    $("level").style.setProperty("--level", data.level);
    if (seconds >= LONGEST) dialog.close("stop");
  };
  context.createMediaStreamSource(stream).connect(node);
  dialog.returnValue = "";
  $("clock").textContent = clock(0, false);
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  stream.getTracks().forEach((track) => track.stop());
  const rate = context.sampleRate;
  await context.close();
  if (dialog.returnValue !== "stop" || !blocks.length) return null;
  const name = `recording-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.wav`;
  return new File([wav(blocks, rate)], name, { type: "audio/wav" });
}

export function prepareRecorder() {
  $("record-stop").addEventListener("click", () => $("recorder").close("stop"));
  $("record-cancel").addEventListener("click", () => $("recorder").close("cancel"));
}

/** Whether this browser can decode a file, so that it can draw and play it. */
export async function playable(file) {
  const context = new OfflineAudioContext(1, 1, 8000);
  try {
    await context.decodeAudioData(await file.arrayBuffer());
    return true;
  } catch {
    return false;
  }
}
