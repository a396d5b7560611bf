// The page: its views, the model, language and theme.

import { get } from "./api.js";
import * as compare from "./compare.js";
import { $, complain, icon } from "./dom.js";
import { language, setLanguage, setTitles, t } from "./i18n.js";
import * as label from "./label.js";
import * as review from "./review.js";
import { prepareRecorder } from "./sound.js";
import * as talk from "./talk.js";

const VIEWS = { label, compare, talk, review };
const models = new Map();

const server = {
  state: null,
  modelName: () => $("model").value,
  /** What a model answers; it is loaded by this. */
  model(name) {
    if (!models.has(name)) {
      const found = get(`model?name=${encodeURIComponent(name)}`);
      found.then((model) => setTitles(model.titles), () => models.delete(name));
      models.set(name, found);
    }
    return models.get(name);
  },
};

function show(focus = true) {
  const wanted = location.hash.slice(1);
  const name = wanted in VIEWS && !(wanted === "review" && !server.state.review) ? wanted : "label";
  complain("");
  for (const [each, view] of Object.entries(VIEWS)) if (each !== name && !$(`view-${each}`).hidden) view.leave?.();
  for (const each of Object.keys(VIEWS)) {
    $(`view-${each}`).hidden = each !== name;
    const link = document.querySelector(`nav a[href="#${each}"]`);
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(`tab.${name}`)} · osum studio`;
  if (focus) $(`h-${name}`).focus({ preventScroll: true });
  guarded(() => VIEWS[name].enter?.());
}

async function guarded(act) {
  try {
    await act();
  } catch (fault) {
    complain(fault.message);
  }
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function paint() {
  $("theme").replaceChildren(icon(dark() ? "sun" : "moon"));
  label.repaint();
  compare.repaint();
  review.repaint();
}

function speak(code) {
  setLanguage(code);
  $("language").textContent = code === "zh" ? "English" : "中文";
  $("language").lang = code === "zh" ? "en" : "zh";
  $("language").title = t("language");
  const local = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
  $("where").textContent = local ? t("drop.local") : t("drop.remote", { host: location.host });
}

async function start() {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark() ? "dark" : "light");
  speak(localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  for (const element of document.querySelectorAll("[data-icon]")) element.replaceChildren(icon(element.dataset.icon));
  server.state = await get("state");
  for (const model of server.state.models) $("model").append(new Option(model.name, model.name));
  document.querySelector(".pick").hidden = server.state.models.length < 2;
  $("tab-review").hidden = !server.state.review;
  prepareRecorder();
  for (const view of Object.values(VIEWS)) view.prepare(server);
  label.redraw();
  const drawTasks = async () => label.drawTasks(await server.model(server.modelName()));
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    localStorage.setItem("theme", document.documentElement.dataset.theme);
    paint();
  });
  $("language").addEventListener("click", () => guarded(async () => {
    localStorage.setItem("language", language() === "en" ? "zh" : "en");
    speak(localStorage.getItem("language"));
    await drawTasks();
    for (const view of Object.values(VIEWS)) await view.redraw?.();
    show(false);
  }));
  $("model").addEventListener("change", () => guarded(async () => {
    await drawTasks();
    show(false);
  }));
  addEventListener("hashchange", () => show());
  paint();
  show(false);
  document.body.dataset.ready = "yes";
  await drawTasks();
}

guarded(start);
