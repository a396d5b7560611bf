// Elements, icons, messages and small formats. Text from data only ever becomes a text node.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2.5M12 19.5V22M4.9 4.9l1.8 1.8M17.3 17.3l1.8 1.8M2 12h2.5M19.5 12H22M4.9 19.1l1.8-1.8M17.3 6.7l1.8-1.8",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14",
  keyboard: "M3 7h18v10H3zM7 10.5h.1M10.5 10.5h.1M14 10.5h.1M17 10.5h.1M8 14h8",
  check: "M5 12.5l4.5 4.5L19 7.5",
};
const FILLED = new Set(["play", "pause"]);

export const $ = (id) => document.getElementById(id);

/** An element: attributes, `on...` listeners and properties, then children, which are nodes or texts. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (["value", "checked", "disabled", "hidden", "textContent"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(isThere));
  return element;
}

const isThere = (child) => child !== null && child !== undefined && child !== false;

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter(isThere));
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  if (FILLED.has(name)) svg.classList.add("filled");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Say something to screen readers. */
export function announce(text) {
  $("live").textContent = text;
}

/** Show what went wrong, until the next act. */
export function complain(text) {
  $("alert").textContent = text;
  $("alert").hidden = !text;
}

export const percent = (share) => `${Math.round(share * 100)}%`;

export function clock(seconds, tenths = true) {
  const whole = Math.floor(seconds / 60);
  const rest = seconds - whole * 60;
  return `${whole}:${tenths ? rest.toFixed(1).padStart(4, "0") : String(Math.floor(rest)).padStart(2, "0")}`;
}

/** Move among the children of a group with the arrow keys; one of them is a stop of Tab. */
export function roving(group, selector) {
  const items = () => [...group.querySelectorAll(selector)];
  items().forEach((item, index) => (item.tabIndex = index ? -1 : 0));
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = items();
    const at = all.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
    all.forEach((item) => (item.tabIndex = item === next ? 0 : -1));
    next.focus();
  });
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
