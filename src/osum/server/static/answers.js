// What a model answered about a recording: lanes, transcript, and each task with its prompt and raw answer.

import { h, percent, roving } from "./dom.js";
import { named, t } from "./i18n.js";

/** Lanes of an answer, as the server lists them, and one of its words. */
export function lanesOf(answer, { group, open = () => {} } = {}) {
  const words = (answer.row.words ?? []).map((word) => ({ ...word, share: word.confidence }));
  const named_ = (name, items) => ({ name, title: named(name), group, items });
  const lanes = answer.lanes.filter((lane) => lane.items.length).map((lane) =>
    named_(lane.name, lane.items.map((item) => ({ ...item, text: named(item.label), share: item.probability, open: () => open(item.segment, lane.name) }))));
  return words.length ? [{ name: "words", title: t("words"), group, items: words }, ...lanes] : lanes;
}

/** The transcript: each word a button, as strong as it is sure. */
export function transcriptOf(answer, timeline) {
  const row = answer.row;
  if (row.text === undefined) return { element: h("p", { class: "soft" }, t("transcript.off")), follow() {} };
  if (!row.text) return { element: h("p", { class: "soft" }, t("transcript.none")), follow() {} };
  if (!row.words?.length) return { element: h("p", { class: "said" }, row.text), follow() {} };
  const spans = row.words.map((word) =>
    h("button", {
      type: "button", class: word.estimated ? "word estimated" : "word", style: { "--share": String(word.confidence ?? 0.5) },
      title: word.confidence === null ? word.text : `${word.text} ${percent(word.confidence)}`,
      onclick: () => timeline.play(word.start, word.end),
    }, word.text));
  const element = h("p", { class: "said" });
  row.words.forEach((word, index) => {
    const before = row.words[index - 1]?.text ?? "";
    const close = !index || (/\p{Script=Han}$/u.test(before) && /^\p{Script=Han}/u.test(word.text));
    element.append(...(close ? [spans[index]] : [" ", spans[index]]));
  });
  roving(element, ".word");
  let now = -1;
  const follow = (seconds) => {
    const at = row.words.findIndex((word) => word.start <= seconds && seconds < word.end);
    if (at === now) return;
    spans[now]?.classList.remove("now");
    spans[at]?.classList.add("now");
    now = at;
  };
  return { element, follow };
}

/** Each task's answer about one segment; the prompt and the raw answer are one click away. */
export class Answers {
  constructor(answer, model) {
    this.answer = answer;
    this.model = model;
    this.at = Math.max(0, (answer.row.segments ?? []).findIndex((segment) => !segment.no_speech));
    this.list = h("div", { class: "tasks" });
    this.pager = h("p", { class: "pager row" });
    this.element = h("section", { class: "card", "aria-labelledby": "h-answers" },
      h("h2", { id: "h-answers" }, t("answers")), this.pager, this.list);
    this.draw();
  }

  /** Show the details of the label of one column in one segment. */
  open(segment, column) {
    this.at = segment;
    this.draw();
    const details = this.list.querySelector(`.${CSS.escape(column)}`);
    if (details) details.open = true;
  }

  draw() {
    const segments = this.answer.row.segments ?? [];
    const step = (by) => () => { this.at += by; this.draw(); };
    this.pager.hidden = segments.length < 2;
    this.pager.replaceChildren(
      h("button", { type: "button", class: "quiet", disabled: this.at === 0, "aria-label": t("part.before"), onclick: step(-1) }, "‹"),
      h("span", {}, t("part", { at: this.at + 1, count: segments.length })),
      h("button", { type: "button", class: "quiet", disabled: this.at >= segments.length - 1, "aria-label": t("part.next"), onclick: step(1) }, "›"));
    const byTask = {};
    for (const [key, found] of Object.entries(segments[this.at]?.labels ?? {})) (byTask[key.split("/")[0]] ??= []).push([key, found]);
    this.list.replaceChildren(...Object.entries(byTask).map(([task, found]) => this.task(task, found)));
  }

  task(name, found) {
    const about = this.model.tasks.find((task) => task.name === name) ?? { title: name };
    const first = found[0][1];
    const labels = found.filter(([, each]) => each.label !== null);
    const free = !about.sets?.length;
    const text = free ? first.raw : "";
    const shown = labels.length
      ? labels.map(([, each]) => h("b", {}, named(each.label)))
      : h("span", { class: "soft excerpt" }, free ? text || t("empty") : t("no.label"));
    const sure = labels[0]?.[1].probability;
    const evidence = first.evidence && first.evidence !== "real" ? t(`evidence.${first.evidence}`) : "";
    return h("details", { class: `task ${about.sets?.[0] ?? "words"}`, "data-task": name },
      h("summary", {},
        h("span", { class: "name" }, named(about.title), evidence ? h("abbr", { title: evidence, "aria-label": evidence }, "~") : null),
        h("span", { class: "label" }, shown),
        sure === undefined || sure === null ? h("span", {}) : h("span", { class: "sure" }, h("span", { class: "bar", style: { "--share": String(sure) } }), percent(sure))),
      evidence ? h("p", { class: "soft" }, `~ ${evidence}`) : null,
      found.map(([, each]) => (each.distribution ? this.distribution(each) : null)),
      h("dl", { class: "exact" },
        h("dt", {}, t("prompt")), h("dd", {}, h("code", {}, this.answer.row.prompts?.[name] ?? t("empty"))),
        h("dt", {}, t("raw")), h("dd", {}, h("code", {}, first.raw || t("empty"))),
        first.problems.length ? [h("dt", {}, t("problems")), h("dd", {}, first.problems.join("; "))] : null));
  }

  distribution(answer) {
    const shares = Object.entries(answer.distribution).sort((a, b) => b[1] - a[1]);
    return h("table", { class: "shares" }, h("tbody", {}, shares.map(([label, share]) =>
      h("tr", {}, h("th", { scope: "row" }, named(label)), h("td", {}, h("span", { class: "bar", style: { "--share": String(share) } })), h("td", { class: "n" }, percent(share))))));
  }
}

/** Buttons for every format; `fetchFile` gives the file of one. */
export function downloads(formats, fetchFile) {
  const button = (format) =>
    h("button", { type: "button", class: "button small", title: t("download.as", { name: format }), onclick: () => fetchFile(format) }, format);
  return h("section", { class: "card", "aria-labelledby": "h-download" },
    h("h2", { id: "h-download" }, t("download")), h("div", { class: "downloads" }, formats.map(button)));
}
