// Teach: a name, and pictures while the button is held.
import { press, send } from "./api.js";
import { attempt, count, find, make } from "./dom.js";
import { state, tell, when } from "./state.js";

const name = find("class-name");
const hold = find("hold");
// Pictures that differ too little teach nothing: not more often than this.
const PAUSE = 220;
let holding = false;
let taken = 0;

export function startTeach() {
  hold.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    hold.setPointerCapture(event.pointerId);
    begin();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) hold.addEventListener(kind, stop);
  hold.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) begin();
  });
  hold.addEventListener("keyup", stop);
  hold.addEventListener("contextmenu", (event) => event.preventDefault());
  addEventListener("visibilitychange", stop);
  find("files").addEventListener("change", fromFiles);
  name.addEventListener("input", showChips);
  when("taught", showTaught);
  when("classes", showChips);
  when("taught", showChips);
}

function className() {
  const text = name.value.trim();
  if (!text) {
    find("hold-note").textContent = "First say what it is.";
    name.focus();
  }
  return text;
}

async function begin() {
  const label = className();
  if (!label || holding) return;
  holding = true;
  taken = 0;
  hold.classList.add("holding");
  hold.textContent = `This is ${label}…`;
  find("strip").replaceChildren();
  let after = 0;
  while (holding) {
    const started = performance.now();
    const found = await attempt(() => press(`/teach?class_name=${encodeURIComponent(label)}&after=${after}`));
    if (!found) break;
    after = found.frame;
    taken += 1;
    keep(found, label);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, PAUSE - (performance.now() - started))));
  }
  stop();
}

function stop() {
  if (!holding) return;
  holding = false;
  hold.classList.remove("holding");
  hold.textContent = "Hold to take pictures";
}

function keep(found, label) {
  const strip = find("strip");
  strip.prepend(make("img", { src: `/api/v1/taught/${found.id}`, alt: "" }));
  while (strip.children.length > 12) strip.lastChild.remove();
  find("hold-note").textContent = `${count(taken, "picture", "pictures")} of ${label} now, ${found.classes[label] ?? taken} in all.`;
  state.taught = found.classes;
  tell("taught", found.classes);
}

async function fromFiles(event) {
  const files = [...event.target.files];
  event.target.value = "";
  const label = files.length ? className() : "";
  if (!label) return;
  let done = 0;
  for (const file of files) {
    const found = await attempt(() => send(`/teach?class_name=${encodeURIComponent(label)}`, file));
    if (!found) continue;
    done += 1;
    taken = done;
    keep(found, label);
  }
}

function showTaught(counts) {
  const all = Object.values(counts).reduce((sum, each) => sum + each, 0);
  const badge = find("taught-count");
  badge.hidden = !all;
  badge.textContent = all;
  const hint = find("learn-hint");
  hint.hidden = !all;
  hint.firstElementChild.textContent = `${count(all, "picture waits", "pictures wait")} to be learned.`;
}

function showChips() {
  const names = [...new Set([...state.classes, ...Object.keys(state.taught)])];
  find("class-names").replaceChildren(...names.map((each) => make("option", { value: each })));
  const focused = document.activeElement?.closest("#chips") ? document.activeElement.dataset.name : null;
  find("chips").replaceChildren(...names.map((each) => chip(each)));
  if (focused) [...find("chips").children].find((each) => each.dataset.name === focused)?.focus();
}

function chip(label) {
  const waiting = state.taught[label];
  const found = make("button", { type: "button", textContent: waiting ? `${label} +${waiting}` : label });
  found.dataset.name = label;
  found.setAttribute("aria-pressed", name.value.trim() === label);
  found.addEventListener("click", () => {
    name.value = label;
    showChips();
  });
  return found;
}
