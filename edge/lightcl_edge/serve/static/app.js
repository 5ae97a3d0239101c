// The page: which part is shown, and news from the board.
import { get } from "./api.js";
import { find } from "./dom.js";
import { showBoard, startBoard } from "./board.js";
import { showKnows, startKnows } from "./knows.js";
import { showLearn, startLearn } from "./learn.js";
import { startLive, watch } from "./live.js";
import { state, tell } from "./state.js";
import { startTeach } from "./teach.js";
import { showWaiting, startWaiting } from "./waiting.js";

const PARTS = { live: null, waiting: showWaiting, learn: showLearn, knows: showKnows, board: showBoard };
// The page brings the first status with it: one way to the board and back less.
let first = JSON.parse(document.querySelector('meta[name="status"]').content);
let events = null;
let polling = 0;

function part() {
  const name = location.hash.slice(1);
  return name in PARTS ? name : "live";
}

function showPart(focus = true) {
  const now = part();
  for (const name of Object.keys(PARTS)) find(name).hidden = name !== now;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${now}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  PARTS[now]?.();
  watch(now === "live" && !document.hidden);
  if (focus) {
    find(now).focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

async function refresh() {
  clearTimeout(polling);
  try {
    const status = first ?? (await get("/status"));
    first = null;
    Object.assign(state, { classes: status.classes, taught: status.taught, settings: status.settings, generation: status.generation, source: status.source, mqtt: status.mqtt });
    find("about").textContent = `lightcl-edge ${status.version}, ${status.model ?? "no bundle"}, generation ${status.generation}.`;
    tell("status", status);
    tell("classes", status.classes);
    tell("taught", status.taught);
    tell("settings", status.settings);
    tell("queue", { count: status.queue });
    tell("learning", status.learning);
    if (status.live) tell("live", status.live);
  } catch (error) {
    find("stage-note").textContent = error.message;
    find("stage-note").hidden = false;
  }
  if (!document.hidden) polling = setTimeout(refresh, 5000);
}

// A browser opens six connections at most for all of its windows: one that nobody sees gives its own back.
function listen() {
  if (document.hidden) {
    events?.close();
    events = null;
    clearTimeout(polling);
    return;
  }
  if (events) return;
  events = new EventSource("/api/v1/events");
  const hear = (kind, work) => events.addEventListener(kind, (event) => work(JSON.parse(event.data)));
  hear("live", (live) => tell("live", live));
  hear("taught", (counts) => {
    state.taught = counts;
    tell("taught", counts);
  });
  hear("settings", (settings) => {
    state.settings = settings;
    tell("settings", settings);
  });
  hear("queue", (found) => tell("queue", found));
  hear("learning", (learning) => tell("learning", learning));
  hear("generation", async (found) => {
    await refresh();
    tell("generation", found);
  });
  refresh();
}

startLive();
startTeach();
startWaiting();
startLearn();
startKnows();
startBoard();
addEventListener("hashchange", () => showPart());
document.addEventListener("visibilitychange", () => {
  listen();
  watch(part() === "live" && !document.hidden);
  if (!document.hidden) PARTS[part()]?.();
});
showPart(false);
listen();
