// Talks to a server with OpenAI's agents SDK: node realtime_agent.mjs URL KEY FILE.pcm; prints one line of JSON.
import { readFileSync } from "node:fs";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

const [url, key, file] = process.argv.slice(2);
const agent = new RealtimeAgent({ name: "osum", instructions: "be brief" });
const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebSocket({ url }), model: "gpt-realtime" });
const report = { errors: [], bytes: 0, history: [] };

session.on("error", (fault) => report.errors.push(String(fault?.error?.error?.message ?? fault?.error ?? fault)));
session.transport.on("audio", (event) => (report.bytes += event.data.byteLength));
const ended = new Promise((resolve) => session.transport.on("turn_done", resolve));

await session.connect({ apiKey: key, url });
const sound = readFileSync(file);
session.sendAudio(sound.buffer.slice(sound.byteOffset, sound.byteOffset + sound.byteLength));
await Promise.race([ended, new Promise((_, reject) => setTimeout(() => reject(new Error("no reply in time")), 60_000))]);
await new Promise((resolve) => setTimeout(resolve, 1_000)); // what was said is written down a little later
report.history = session.history.map(({ role, status, content }) => ({ role, status, content }));
session.close();
console.log(JSON.stringify(report));
process.exit(0);
