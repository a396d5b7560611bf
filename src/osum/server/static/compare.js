// Compare: two models on one recording, their lanes on one axis of time and what differs in a table.

import { lanesOf } from "./answers.js";
import { post } from "./api.js";
import { $, announce, complain, h, percent } from "./dom.js";
import { named, t } from "./i18n.js";
import { currentClip } from "./label.js";
import { Timeline } from "./timeline.js";

let server;
let shown = null;

export function prepare(about) {
  server = about;
  $("compare-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    await run();
  });
}

export function enter() {
  const names = server.state.models.map((model) => model.name);
  const form = $("compare-form");
  for (const [field, at] of [["first", 0], ["second", 1]]) {
    const pick = form.elements[field];
    const before = pick.value;
    pick.replaceChildren(...names.map((name) => h("option", {}, name)));
    pick.value = before || names[Math.min(at, names.length - 1)];
  }
  $("compare-note").textContent = names.length < 2 ? t("compare.one") : currentClip() ? currentClip().file.name : t("compare.need");
  form.querySelector("button").disabled = !currentClip();
}

async function run() {
  complain("");
  const clip = currentClip();
  const { first, second } = $("compare-form").elements;
  const button = $("compare-form").querySelector("button");
  button.disabled = true;
  announce(t("working", { model: `${first.value}, ${second.value}` }));
  try {
    const ask = async (name) => (await post("label", { file: clip.file, model: name, tasks: ["all"] })).json();
    const answers = await Promise.all([ask(first.value), ask(second.value)]);
    await show(clip, [first.value, second.value], answers);
  } catch (fault) {
    complain(fault.message);
  }
  button.disabled = false;
}

async function show(clip, names, answers) {
  shown?.timeline.destroy();
  const timeline = new Timeline();
  shown = { clip, names, answers, timeline };
  const sets = [...new Set(answers.flatMap((answer) => Object.keys(answer.row.labels ?? {})))];
  const rows = sets.map((set) => row(set, answers));
  const same = rows.filter((each) => each.same).length;
  $("compare-result").replaceChildren(
    h("section", { class: "card sound" }, timeline.element),
    h("section", { class: "card" }, h("h2", {}, t("compare.agree", { same, count: sets.length })),
      h("div", { class: "wide" }, h("table", { class: "facts" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("compare.task")), names.map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span", { class: "sr" }, t("compare.verdict"))))),
        h("tbody", {}, rows.map((each) => each.element))))),
    h("section", { class: "columns even" }, answers.map((answer, at) => h("div", { class: "card" }, h("h2", {}, names[at]), differing(answer, answers[1 - at])))));
  await timeline.load(clip.sound);
  timeline.setLanes(answers.flatMap((answer, at) => lanesOf(answer, { group: `${at + 1} · ${names[at]}` })));
  announce(t("compare.agree", { same, count: sets.length }));
}

function row(set, answers) {
  const labels = answers.map((answer) => answer.row.labels?.[set]);
  const share = (at) => answers[at].lanes.find((lane) => lane.name === set)?.items.find((item) => item.label === labels[at])?.probability;
  const same = labels[0] === labels[1];
  const cell = (at) => h("td", {}, labels[at] ? named(labels[at]) : t("no.label"), share(at) === undefined || share(at) === null ? null : h("small", { class: "soft" }, ` ${percent(share(at))}`));
  return { same, element: h("tr", { class: same ? "" : "differs" }, h("th", { scope: "row" }, named(set)), cell(0), cell(1), h("td", { class: "soft" }, same ? t("compare.same") : t("compare.differs"))) };
}

/** The words of one transcript, those marked that the other has not (longest common subsequence). */
function differing(answer, other) {
  const [ours, theirs] = [answer, other].map((each) => units(each.row.text ?? ""));
  const kept = new Set(common(ours, theirs));
  if (!ours.length) return h("p", { class: "soft" }, t("transcript.none"));
  return h("p", { class: "said" }, ours.flatMap((word, at) => [kept.has(at) ? word : h("mark", {}, word), " "]));
}

const units = (text) => text.match(/\p{Script=Han}|[^\s\p{Script=Han}]+/gu) ?? [];

function common(a, b) {
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const kept = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) { kept.push(i); i++; j++; } else if (length[i + 1][j] >= length[i][j + 1]) i++; else j++;
  }
  return kept;
}

export const redraw = () => shown && show(shown.clip, shown.names, shown.answers);
export const repaint = () => shown?.timeline.repaint();
