// Audio worklet: the first channel of the microphone as 16 bit samples, in blocks of 40 ms with their level.

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate / 25));
    this.filled = 0;
    this.peak = 0;
  }

  process([input]) {
    for (const sample of input[0] ?? []) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.block[this.filled++] = Math.round(clipped * 32767);
      this.peak = Math.max(this.peak, Math.abs(clipped));
      if (this.filled === this.block.length) this.flush();
    }
    return true;
  }

  flush() {
    this.port.postMessage({ samples: this.block.slice(), level: this.peak });
    this.filled = this.peak = 0;
  }
}

registerProcessor("capture", Capture);
