// Review: rows of a labelled corpus one after the other, listened to, corrected and confirmed by keyboard.
// A key changes what is shown; Enter, or leaving the row, writes it.

import { bytes, get, send } from "./api.js";
import { $, announce, complain, fill, h, icon, percent } from "./dom.js";
import { named, t } from "./i18n.js";
import { Timeline } from "./timeline.js";

const PAGE = 100;
const TEXT = "text";

let server;
let built = false;
let about = null; // counts, label sets and agreement, as the server gives them
let rows = []; // of the list, in its order
let count = 0;
let at = -1; // which of them is open
let row = null; // the open one
let changes = {}; // field to its new value, not yet written
let group = 0; // which label set the digits choose in
let undo = null; // what was written last: {number, changes}
let sequence = 0; // of the row that was asked for last
let acting = false; // whether a row is being written or fetched
const ui = {};

export function prepare(about_) {
  server = about_;
  document.addEventListener("keydown", keyed);
}

export async function enter() {
  if (!built) {
    about = (await get("review?limit=0")).about;
    build();
  }
  if (!rows.length) await search();
  else await refreshAbout();
}

export const redraw = async () => {
  if (!built) return;
  build();
  await search(row?.number);
};
export const repaint = () => ui.timeline?.repaint();

// The view

function pick(name, options, value) {
  ui[name] = h("select", { onchange: () => guarded(() => changedFilter(name)) }, options.map(([key, text]) => h("option", { value: key }, text)));
  ui[name].value = value;
  return h("label", {}, h("span", {}, t(`review.${name}`)), ui[name]);
}

function build() {
  built = true;
  ui.timeline?.destroy();
  const sets = Object.keys(about.label_sets);
  const before = Object.fromEntries(["field", "label", "state", "sort"].map((name) => [name, ui[name]?.value]));
  ui.words = h("input", { type: "search", value: ui.words?.value ?? "", oninput: debounce(() => guarded(search)) });
  ui.by = h("input", { value: localStorage.getItem("by") ?? "", maxlength: "100", autocomplete: "name", onchange: () => localStorage.setItem("by", ui.by.value.trim()) });
  ui.list = h("ol", { class: "rows", "aria-label": t("review.rows") });
  ui.more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => guarded(more) }, t("review.more"));
  ui.editor = h("div", { class: "editor card", tabindex: "-1" });
  ui.top = h("div", { class: "head" });
  ui.below = h("div", { class: "below" });
  ui.agreement = h("div", {});
  ui.progress = h("p", { class: "soft", "aria-live": "polite" });
  ui.autoplay = h("input", { type: "checkbox", checked: ui.autoplay?.checked ?? true });
  ui.shortcuts = h("input", { type: "checkbox", checked: ui.shortcuts?.checked ?? true });
  ui.timeline = new Timeline({ lanes: false });
  const states = ["all", "open", "reviewed", "corrected", "disagree"].map((name) => [name, t(`review.state.${name}`)]);
  fill($("review"), 
    h("form", { class: "bar", onsubmit: (event) => event.preventDefault() },
      pick("field", [["", t("review.all")], ...sets.map((name) => [name, named(name)]), [TEXT, t("review.text")]], before.field ?? ""),
      pick("label", [["", t("review.any")]], ""),
      pick("state", states, before.state ?? "all"),
      pick("sort", [["doubt", t("review.sort.doubt")], ["file", t("review.sort.file")]], before.sort ?? "doubt"),
      h("label", {}, h("span", {}, t("review.words")), ui.words),
      h("label", {}, h("span", {}, t("review.by")), ui.by)),
    ui.progress,
    h("div", { class: "desk" },
      h("div", { class: "queue" }, ui.list, ui.more),
      h("div", {}, ui.editor,
        h("p", { class: "row soft small" },
          h("label", {}, ui.autoplay, ` ${t("review.autoplay")}`), h("label", {}, ui.shortcuts, ` ${t("review.shortcuts")}`),
          h("button", { type: "button", class: "quiet", onclick: help }, icon("keyboard"), " ?")),
        h("section", { class: "card", "aria-labelledby": "h-agreement" }, h("h2", { id: "h-agreement" }, t("review.agreement")), ui.agreement))));
  fillLabels();
}

function fillLabels() {
  const labels = about.label_sets[ui.field.value] ?? [];
  fill(ui.label, h("option", { value: "" }, t("review.any")), ...labels.map((label) => h("option", { value: label }, named(label))));
  ui.label.disabled = !labels.length;
}

async function changedFilter(name) {
  if (name === "field") fillLabels();
  group = 0;
  await search();
}

// The list

async function search(keep) {
  if (!(await flush())) return;
  busy();
  const found = await list(0);
  rows = found.rows;
  count = found.count;
  fill(ui.list, ...rows.map(item));
  ui.more.hidden = rows.length >= count;
  drawAbout(found.about);
  const again = rows.findIndex((each) => each.number === keep);
  if (rows.length) await open(again < 0 ? 0 : again, false);
  else {
    at = -1;
    ui.editor.removeAttribute("aria-busy");
    ui.timeline.stop();
    fill(ui.editor, h("p", { class: "soft" }, t("review.none")));
  }
}

async function more() {
  const found = await list(rows.length);
  rows.push(...found.rows);
  ui.list.append(...found.rows.map(item));
  ui.more.hidden = rows.length >= found.count || !found.rows.length;
}

const list = (offset) => {
  const query = { field: ui.field.value, label: ui.label.value, state: ui.state.value, sort: ui.sort.value, words: ui.words.value, offset, limit: PAGE };
  return get(`review?${new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""))}`);
};

function item(each) {
  const doubt = each.doubt === null ? "" : t("review.doubt", { share: percent(each.doubt) });
  const said = ui.field.value && ui.field.value !== TEXT ? named(each.shown[ui.field.value] ?? t("review.unknown")) : (each.shown.text ?? "");
  const button = h("button", { type: "button", "data-number": String(each.number), onclick: (event) => exclusive(async () => {
    const index = rows.findIndex((known) => known.number === each.number);
    if (index === at) ui.timeline.toggle();
    else await go(index);
    if (event.detail) ui.editor.focus({ preventScroll: true });
  }) },
    h("span", { class: "bar", style: { "--share": String(each.doubt ?? 0) }, "aria-hidden": "true" }),
    h("span", { class: "id" }, each.id), h("span", { class: "what" }, said), h("span", { class: "soft" }, doubt),
    h("span", { class: "mark" }, each.corrected.length ? "✎" : each.reviewed.length ? "✓" : ""));
  return h("li", { class: each.reviewed.length ? "done" : "" }, button);
}

function mark(index) {
  const element = item(rows[index]);
  ui.list.children[index].replaceWith(element);
  if (index === at) element.firstChild.setAttribute("aria-current", "true");
}

// The open row

/** Until the next row is shown nothing is open, so that no key changes or confirms what nobody sees yet. */
function busy() {
  row = null;
  changes = {};
  ui.editor.setAttribute("aria-busy", "true");
}

async function open(index, play = ui.autoplay.checked) {
  const mine = ++sequence;
  busy();
  ui.list.children[at]?.firstChild.removeAttribute("aria-current");
  at = index;
  const current = ui.list.children[at].firstChild;
  current.setAttribute("aria-current", "true");
  current.scrollIntoView({ block: "nearest" });
  const { number } = rows[at];
  const found = await get(`review/rows/${number}`);
  if (mine !== sequence) return; // the reviewer is ahead of the network
  row = found;
  ui.editor.removeAttribute("aria-busy");
  draw();
  ui.editor.scrollTop = 0;
  announce(`${row.id}. ${row.shown.text ?? ""}`);
  ui.timeline.stop();
  listen(number, mine, play); // not waited for: the next row may be asked for before this one is played
  if (rows.length - index < 5 && !ui.more.hidden) guarded(more);
}

async function listen(number, mine, play) {
  try {
    const sound = await bytes(`review/rows/${number}/sound`);
    if (mine !== sequence) return;
    await ui.timeline.load(sound);
    if (play && mine === sequence) ui.timeline.play(0);
  } catch (fault) {
    if (mine === sequence) complain(fault.message);
  }
}

const value = (name) => (name in changes ? changes[name] : (row.shown[name] ?? null));
const fields = () => (ui.field.value ? [ui.field.value] : Object.keys(about.label_sets));
const groups = () => fields().filter((name) => name !== TEXT);

function draw() {
  ui.text = h("textarea", { rows: "2", "aria-label": t("review.text.title"), value: value(TEXT) ?? "", oninput: () => edited(ui.text.value) });
  const guessed = row.guess?.text;
  const differs = guessed && guessed !== value(TEXT);
  const about_ = [row.speaker, row.source, row.doubt === null ? "" : t("review.doubt", { share: percent(row.doubt) })];
  if (!ui.below.isConnected) fill(ui.editor, ui.top, ui.timeline.element, ui.below); // a waveform that is moved is empty
  fill(ui.top, h("h2", {}, row.id), h("p", { class: "soft" }, about_.filter(Boolean).join(" · ")));
  fill(ui.below,
    h("div", { class: "text" }, ui.text,
      guessed === undefined || guessed === null ? null : h("p", { class: "soft small" }, `${t("review.model.text")}: `, h("q", {}, guessed), " ", differs ? h("button", { type: "button", class: "quiet", onclick: useModel }, t("review.use")) : null)),
    h("div", { class: "sets" }, groups().map(choice)),
    h("p", { class: "row" }, h("button", { type: "button", class: "button primary", onclick: () => exclusive(confirmRow) }, icon("check"), t("review.confirm"), h("kbd", {}, "↵"))),
    row.corrections.length ? h("details", { class: "history" }, h("summary", {}, `${t("review.history")} (${row.corrections.length})`), h("ul", {}, row.corrections.map((each) =>
      h("li", {}, t("review.old", { field: named(each.field), old: shownValue(each.old), new: shownValue(each.new), by: each.by, at: each.at }))))) : null);
  ui.timeline.resize();
}

const shownValue = (text) => (text === null || text === undefined ? t("review.unknown") : `“${named(text)}”`);

function choice(name, index) {
  const active = index === group;
  const set = about.label_sets[name];
  const known = set.includes(value(name)) || value(name) === null ? set : [...set, value(name)];
  const button = (label, key) => {
    const share = label === null ? undefined : row.guess?.labels[name]?.[label];
    return h("button", {
      type: "button", class: label === null ? "option unknown" : "option", "aria-pressed": String(value(name) === label), style: { "--share": String(share ?? 0) },
      onclick: (event) => { choose(name, label); if (event.detail) ui.editor.focus({ preventScroll: true }); },
    }, active ? h("kbd", { "aria-hidden": "true" }, key) : null, h("span", {}, label === null ? t("review.unknown") : named(label)), share === undefined ? null : h("small", {}, percent(share)));
  };
  return h("div", { class: active ? `set ${name} active` : `set ${name}`, role: "group", "aria-label": named(name) },
    h("h3", {}, named(name), row.reviewed.includes(name) ? h("span", { class: "mark" }, " ✓") : null),
    h("div", { class: "options" }, known.map((label, at_) => button(label, String(at_ + 1))), button(null, "0")));
}

function choose(name, label) {
  if (!row) return;
  changes[name] = label;
  if ((row.shown[name] ?? null) === label) delete changes[name];
  group = Math.max(0, groups().indexOf(name));
  const focus = document.activeElement?.closest(".option") ? [...ui.editor.querySelectorAll(".option")].indexOf(document.activeElement) : -1;
  draw();
  if (focus >= 0) ui.editor.querySelectorAll(".option")[focus]?.focus();
  announce(`${named(name)}: ${label === null ? t("review.unknown") : named(label)}`);
}

function edited(text) {
  if (!row) return;
  if (text === (row.shown[TEXT] ?? "")) delete changes[TEXT];
  else changes[TEXT] = text;
}

function useModel() {
  if (!row?.guess?.text) return;
  edited(row.guess.text);
  draw();
}

// Writing

async function write(confirmed) {
  if (!row || (!confirmed.length && !Object.keys(changes).length)) return true;
  if (!ui.by.value.trim()) {
    complain(t("review.needname"));
    ui.by.focus();
    return false;
  }
  const before = Object.fromEntries(Object.keys(changes).map((name) => [name, row.shown[name] ?? null]));
  return put(row.number, { version: row.version, changes, confirmed, by: ui.by.value }, before);
}

async function put(number, body, before) {
  const index = rows.findIndex((each) => each.number === number);
  try {
    const found = await (await send(`review/rows/${number}`, "PUT", body)).json();
    undo = { number, changes: before };
    if (index >= 0) {
      rows[index] = found.row;
      mark(index);
    }
    if (row?.number === number) row = { ...row, ...found.row };
    changes = {};
    drawAbout(found.about);
    announce(t(Object.keys(before).length ? "review.corrected" : "review.confirmed", { id: found.row.id }));
    return true;
  } catch (fault) {
    if (fault.status !== 409) throw fault;
    await open(at, false);
    complain(t("review.stale"));
    return false;
  }
}

const flush = () => write([]); // resolves to whether nothing is left unwritten

async function confirmRow() {
  if (!row) return;
  complain("");
  const shown = fields().filter((name) => value(name) !== null || name in changes);
  if (!ui.field.value && value(TEXT) !== null) shown.push(TEXT);
  if (await write(shown)) await move(1);
}

async function move(step) {
  const next = at + step;
  if (next >= 0 && next < rows.length) return go(next);
  if (step > 0 && row) {
    draw();
    announce(t("review.end"));
  }
}

async function go(index) {
  if (await flush()) await open(index);
}

async function takeBack() {
  if (!undo) return announce(t("review.nothing"));
  const { number, changes: old } = undo;
  const index = rows.findIndex((each) => each.number === number);
  if (index < 0) return;
  await open(index, false);
  if (Object.keys(old).length) {
    await put(number, { version: row.version, changes: old, confirmed: [], by: ui.by.value }, {});
    await open(index, false);
  }
  undo = null;
  announce(t("review.undone", { id: row.id }));
}

// Keys

const KEYS = [
  ["↓ ↑  J K", "keys.next"], ["Space", "keys.play"], ["1 … 9", "keys.digits"], ["0", "keys.zero"], ["← →", "keys.group"],
  ["Enter", "keys.enter"], ["E", "keys.edit"], ["M", "keys.model"], ["U", "keys.undo"], ["?", "keys.help"],
];

function help() {
  $("keys-list").replaceChildren(...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(what))]));
  $("keys").showModal();
}

function keyed(event) {
  if ($("view-review").hidden || !row || !ui.shortcuts.checked || document.querySelector("dialog[open]")) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (target === ui.text) return keyedInText(event);
  if (target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (target.closest("button, summary, a, input") && (event.key === "Enter" || event.key === " ")) return;
  if (target.closest(".scroll") && event.key.startsWith("Arrow")) return;
  const act = actOf(event.key);
  if (!act) return;
  event.preventDefault();
  exclusive(act);
}

function actOf(key) {
  const set = groups()[group];
  if (/^[1-9]$/.test(key)) {
    const label = set && about.label_sets[set][Number(key) - 1];
    return label === undefined || !set ? null : () => choose(set, label);
  }
  return {
    ArrowDown: () => move(1), j: () => move(1), ArrowUp: () => move(-1), k: () => move(-1), Enter: confirmRow, " ": () => ui.timeline.toggle(),
    0: () => set && choose(set, null), ArrowRight: () => shift(1), ArrowLeft: () => shift(-1), e: edit, m: useModel, u: takeBack, "?": help,
  }[key.length === 1 ? key.toLowerCase() : key];
}

function shift(step) {
  const all = groups();
  if (!all.length) return;
  group = (group + step + all.length) % all.length;
  draw();
  announce(named(all[group]));
}

function edit() {
  ui.text.focus();
  ui.text.setSelectionRange(ui.text.value.length, ui.text.value.length);
}

function keyedInText(event) {
  if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return; // a word that an input method still forms
  event.preventDefault();
  if (event.key === "Escape") {
    delete changes[TEXT];
    draw();
  }
  ui.editor.focus({ preventScroll: true });
  if (event.key === "Enter") exclusive(confirmRow);
}

// Counts, agreement, export, asking the model

async function refreshAbout() {
  drawAbout((await get("review?limit=0")).about);
}

function drawAbout(found) {
  about = found;
  $("review-file").textContent = `${about.name} · ${t("review.count", { reviewed: about.reviewed, count: about.count })}`;
  const ask = about.asking
    ? [h("span", {}, t("review.asking", about.asking)), h("button", { type: "button", class: "button small", onclick: () => guarded(stopAsking) }, t("review.stop"))]
    : about.unanswered ? [h("button", { type: "button", class: "button small", onclick: () => guarded(askModel) }, t("review.ask", { model: server.modelName(), count: about.unanswered }))] : [];
  fill(ui.progress, ...ask,
    h("button", { type: "button", class: "button small", disabled: !about.reviewed, onclick: () => guarded(exportRows) }, icon("download"), t("review.export")),
    about.faults ? h("span", {}, t("review.broken", { count: about.faults })) : "", about.problem ? h("span", {}, about.problem) : "");
  ui.progress.classList.add("row");
  const sets = Object.entries(about.agreement);
  fill(ui.agreement, sets.length ? h("table", { class: "shares agreement" }, h("tbody", {}, sets.map(([name, each]) => agreementRow(name, each)))) : h("p", { class: "soft" }, t("review.noagree")));
}

function agreementRow(name, each) {
  const share = each.agree / each.count;
  const confused = each.confused.slice(0, 3).map(([person, model, times]) => t("review.confused", { person: named(person), model: named(model), count: times })).join("; ");
  return h("tr", { title: confused }, h("th", { scope: "row" }, named(name)), h("td", {}, h("span", { class: "bar", style: { "--share": String(share) } })), h("td", { class: "n" }, percent(share)),
    h("td", { class: "soft" }, t("review.agree", { agree: each.agree, count: each.count, low: percent(each.low), high: percent(each.high) }), confused ? h("small", {}, confused) : null));
}

async function askModel() {
  await send("review/answers", "POST", { model: server.modelName() });
  await poll();
}

async function stopAsking() {
  await send("review/answers", "DELETE", {});
  await refreshAbout();
}

async function poll() {
  await refreshAbout();
  if (about.asking) setTimeout(() => guarded(poll), 1000);
  else if (!Object.keys(changes).length) await search(row?.number);
}

async function exportRows() {
  await flush();
  const found = await (await send("review/export", "POST", {})).json();
  announce(t("review.exported", found));
  ui.progress.append(h("span", { class: "done" }, t("review.exported", found)));
}

/** One act at a time: what is pressed while a row is written or fetched would meet another row. */
async function exclusive(act) {
  if (acting) return;
  acting = true;
  $("view-review").setAttribute("aria-busy", "true");
  await guarded(act);
  $("view-review").removeAttribute("aria-busy");
  acting = false;
}

async function guarded(act) {
  try {
    await act();
  } catch (fault) {
    complain(fault.message);
  }
}

function debounce(act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, 250);
  };
}
