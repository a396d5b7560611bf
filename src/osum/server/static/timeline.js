// Waveform and lanes on one axis of time. Wavesurfer draws and plays; lanes are rows of buttons under it.

import WaveSurfer from "./vendor/wavesurfer.js";
import { clock, h, icon, percent } from "./dom.js";
import { t } from "./i18n.js";

const WIDEST = 24_000; // pixels; wider canvases fail in some browsers
const COMFORT = 110; // pixels of a second at which most words can be read
const nonce = document.querySelector('meta[name="csp-nonce"]').content;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];

/**
 * A sound on the page: `element` is shown by whoever made it, `load` fills it.
 * Lanes are `{name, title, group?, items: [{start, end, text, share, estimated?, open?}]}`; `open` is called on a click.
 */
export class Timeline {
  constructor({ lanes = true } = {}) {
    this.duration = 0;
    this.comfort = lanes ? COMFORT : 0;
    this.onTime = () => {};
    this.wave = h("div", { class: "wave" });
    this.head = h("div", { class: "playhead", "aria-hidden": "true" });
    this.rows = h("div", { class: "lanes", role: "group", "aria-label": t("lanes") });
    this.names = h("div", { class: "names", "aria-hidden": "true" });
    this.ruler = h("div", { class: "ruler", "aria-hidden": "true" });
    this.canvas = h("div", { class: "canvas" }, this.wave, this.ruler, this.rows, this.head);
    this.scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("waveform") }, this.canvas);
    this.playButton = h("button", { type: "button", class: "play", "aria-label": t("play"), onclick: () => this.toggle() }, icon("play"));
    this.time = h("output", { class: "time", "aria-label": t("time") });
    this.zoom = h("input", { type: "range", min: "0", max: "100", value: "0", "aria-label": t("zoom"), oninput: () => this.resize() });
    this.element = h("div", { class: lanes ? "timeline" : "timeline bare" },
      h("div", { class: "transport" }, this.playButton, this.time, h("span", { class: "grow" }), this.speed(),
        h("label", { class: "zoom" }, h("span", { class: "soft" }, t("zoom")), this.zoom)),
      h("div", { class: "grid" }, this.names, this.scroll));
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.scroll);
  }

  speed() {
    const pick = h("select", { "aria-label": t("speed"), onchange: () => this.player.setPlaybackRate(Number(pick.value)) },
      SPEEDS.map((rate) => h("option", { value: String(rate) }, `${rate}×`)));
    pick.value = "1";
    return pick;
  }

  /** Draw a sound; resolves to its length in seconds. */
  async load(blob) {
    this.player?.destroy();
    this.mark(false); // one that played says no more that it has stopped
    this.player = WaveSurfer.create({
      container: this.wave, height: 84, cspNonce: nonce, normalize: true, barWidth: 2, barGap: 1, barRadius: 2,
      cursorWidth: 0, dragToSeek: true, ...this.colours(),
    });
    this.player.on("timeupdate", (seconds) => this.follow(seconds));
    this.player.on("play", () => this.mark(true));
    this.player.on("pause", () => this.mark(false));
    const { player } = this;
    await player.loadBlob(blob);
    if (this.player !== player) return this.duration; // another sound was loaded meanwhile
    this.duration = this.player.getDuration();
    this.chosen = false;
    this.width = 0; // the ruler is of this sound, even where it is as wide as the last one
    this.resize();
    this.follow(0);
    return this.duration;
  }

  colours() {
    return { waveColor: colour("--wave"), progressColor: colour("--accent") };
  }

  repaint() {
    this.player?.setOptions(this.colours());
  }

  /** Width by the zoom: from the whole sound in sight to as wide as a canvas may be. */
  resize() {
    const room = this.scroll.clientWidth;
    if (!this.duration || !room) return;
    const most = Math.max(room, Math.min(WIDEST, this.duration * 400));
    if (!this.chosen) { // words should be legible at first, but not at the price of endless scrolling
      const wished = Math.min(this.comfort * this.duration, room * 4, most);
      this.zoom.value = String(wished > room * 1.3 ? 100 * Math.log(wished / room) / Math.log(most / room) : 0);
      this.chosen = true;
    }
    const width = Math.round(room * (most / room) ** (Number(this.zoom.value) / 100));
    if (width === this.width) return;
    this.width = width;
    this.canvas.style.width = `${width}px`;
    this.draw();
  }

  setLanes(lanes) {
    this.lanes = lanes;
    this.draw();
  }

  draw() {
    if (!this.duration || !this.width) return;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300].find((each) => (each / this.duration) * this.width > 56) ?? 600;
    const ticks = [];
    for (let at = 0; at < this.duration; at += step) {
      ticks.push(h("span", { style: { left: this.at(at) } }, step < 1 ? clock(at) : clock(at, false)));
    }
    this.ruler.replaceChildren(...ticks);
    this.names.replaceChildren();
    this.rows.replaceChildren();
    let group;
    for (const lane of this.lanes ?? []) {
      if (lane.group !== group) {
        group = lane.group;
        this.names.append(h("div", { class: "group" }));
        this.rows.append(h("div", { class: "group" }, h("span", {}, group)));
      }
      this.names.append(h("div", {}, lane.title));
      this.rows.append(h("div", { class: `lane ${lane.name}`, role: "group", "aria-label": lane.title }, lane.items.map((item) => this.block(lane, item))));
    }
  }

  block(lane, item) {
    const share = item.share ?? 0;
    const said = item.share === undefined || item.share === null ? "" : percent(item.share);
    const word = lane.name === "words";
    const label = `${lane.title}: ${item.text} ${said}, ${clock(item.start)} – ${clock(item.end)}`;
    return h("button", {
      type: "button", class: `block${item.estimated ? " estimated" : ""}${item.label === "none" ? " plain" : ""}`, title: label, "aria-label": label, tabindex: word ? "-1" : "0",
      style: { left: this.at(item.start), width: `${((item.end - item.start) / this.duration) * 100}%`, "--share": String(share) },
      onclick: () => (item.open ? item.open() : null, this.play(item.start, item.end)),
    }, h("span", {}, item.text, !word && said ? [" ", h("small", {}, said)] : null));
  }

  at(seconds) {
    return `${(seconds / this.duration) * 100}%`;
  }

  play(start, end) {
    this.player?.play(start, end).catch(() => {}); // stopped before it began
  }

  toggle() {
    this.player?.playPause().catch(() => {});
  }

  stop() {
    this.player?.pause();
  }

  mark(playing) {
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", t(playing ? "pause" : "play"));
  }

  follow(seconds) {
    this.time.textContent = `${clock(seconds)} / ${clock(this.duration)}`;
    this.head.style.left = this.at(seconds);
    if (this.player?.isPlaying()) {
      const x = (seconds / this.duration) * this.width - this.scroll.scrollLeft;
      if (x < 0 || x > this.scroll.clientWidth * 0.9) this.scroll.scrollLeft += x - this.scroll.clientWidth * 0.1;
    }
    this.onTime(seconds);
  }

  destroy() {
    this.observer.disconnect();
    this.player?.destroy();
  }
}
