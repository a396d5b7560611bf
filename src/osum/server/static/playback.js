// Audio worklet: plays blocks of samples in order behind a jitter buffer, and says how much of each item was played.

const AHEAD = 0.12; // seconds that are there before it begins, and again after it ran dry

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.clear();
    this.reported = 0;
    this.port.onmessage = ({ data }) => {
      if (data.clear) this.clear();
      else if (data.end) this.ended = true;
      else this.push(data);
    };
  }

  clear() {
    this.blocks = [];
    this.at = 0; // samples of the first block that were played
    this.queued = 0;
    this.playing = false;
    this.ended = false;
    this.item = null;
    this.played = 0;
  }

  push({ item, samples }) {
    this.blocks.push({ item, samples });
    this.queued += samples.length;
    this.ended = false;
  }

  process(_, [output]) {
    const out = output[0];
    if (!this.playing && (this.queued >= AHEAD * sampleRate || (this.ended && this.queued))) this.playing = true;
    let filled = 0;
    while (this.playing && filled < out.length && this.blocks.length) {
      const { item, samples } = this.blocks[0];
      if (item !== this.item) [this.item, this.played] = [item, 0];
      const count = Math.min(out.length - filled, samples.length - this.at);
      out.set(samples.subarray(this.at, this.at + count), filled);
      filled += count;
      this.at += count;
      this.played += count;
      this.queued -= count;
      if (this.at === samples.length) {
        this.blocks.shift();
        this.at = 0;
      }
    }
    if (this.playing && !this.blocks.length) this.playing = false;
    this.report();
    return true;
  }

  report() {
    this.reported += 1;
    const idle = !this.queued && this.ended;
    if (this.reported % 8 && !(idle && this.item)) return; // every 40 ms at 24 kHz
    this.port.postMessage({ item: this.item, played: this.played, idle });
    if (idle) this.item = null;
  }
}

registerProcessor("playback", Playback);
