// The board: memory, heat, disk, speed, settings, and what happened.
import { get, put, signOut } from "./api.js";
import { attempt, bytes, find, make, say } from "./dom.js";
import { state, when } from "./state.js";

let timer = 0;

export function startBoard() {
  const form = find("settings");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { threshold, agreement, window: frames } = form.elements;
    const wanted = { ...state.settings, threshold: threshold.value / 100, agreement: agreement.value / 100, window: Number(frames.value) };
    if (await attempt(() => put("/settings", wanted))) say("Kept.");
  });
  when("settings", (settings) => {
    form.elements.threshold.value = Math.round(settings.threshold * 100);
    form.elements.agreement.value = Math.round(settings.agreement * 100);
    form.elements.window.value = settings.window;
  });
  find("sign-out")?.addEventListener("click", signOut);
}

export async function showBoard() {
  clearTimeout(timer);
  const [board, log] = await Promise.all([attempt(() => get("/board")), attempt(() => get("/log"))]);
  if (board) find("figures").replaceChildren(...figures(board));
  if (log) find("log").replaceChildren(...(log.events.length ? log.events.map(line) : [make("p", { textContent: "Nothing yet." })]));
  if (!find("board").hidden && !document.hidden) timer = setTimeout(showBoard, 3000);
}

function figures(board) {
  const heat = board.temperature_celsius === null ? "unknown" : `${board.temperature_celsius.toFixed(0)} °C`;
  const slow = board.throttled === null ? "no sensor tells" : board.throttled === "no" ? "not slowed down" : board.throttled;
  const learner = board.learner_pss_bytes === null ? "nothing is learned now" : `learning takes ${bytes(board.learner_pss_bytes)} more`;
  return [
    figure("Memory of this program", bytes(board.pss_bytes), `at most ${bytes(board.peak_rss_bytes)}; ${learner}`),
    figure("Memory of the board", `${bytes(board.available_bytes)} free`, `of ${bytes(board.total_bytes)}`),
    figure("Heat", heat, slow),
    figure("Speed", `${board.predictions_per_second} a second`, `predictions; the camera gives ${board.frames_per_second} frames`),
    figure("Disk", `${bytes(board.disk_free_bytes)} free`, `${bytes(board.written_bytes)} written by learning`),
    ...(state.mqtt ? [figure("MQTT", state.mqtt.connected ? "connected" : "not connected", state.mqtt.message)] : []),
    figure("Running for", duration(board.seconds_running), `${board.clients} open ${board.clients === 1 ? "page" : "pages"}`),
  ];
}

const figure = (name, value, more) => make("div", { className: "figure" }, make("span", { className: "soft", textContent: name }), make("b", { textContent: value }), make("span", { className: "soft", textContent: more }));

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function line(event) {
  const time = new Date(event.time * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
  return make("p", {}, make("span", { className: "soft", textContent: time }), make("span", { textContent: [event.event, event.details].filter(Boolean).join(": ") }));
}
