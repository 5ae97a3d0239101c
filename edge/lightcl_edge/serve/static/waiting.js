// Frames that wait for a label: select many, say what they are.
import { get, post } from "./api.js";
import { attempt, bytes, count, find, percent, say } from "./dom.js";
import { state, when } from "./state.js";
import { Tiles } from "./tiles.js";

let tiles;

export function startWaiting() {
  tiles = new Tiles("waiting", {
    source: (each) => `/api/v1/queue/${each.id}`,
    text: (each) => (each.class_name ? `${each.class_name}?` : "?"),
    why: (each) => (each.reason === "unsure" ? `unsure, ${percent(each.probability)}` : each.reason),
    empty: "Nothing waits. Frames that the board is not sure of will appear here.",
  });
  find("waiting-label").addEventListener("click", label);
  find("waiting-drop").addEventListener("click", drop);
  when("queue", (found) => {
    state.queue = found.count;
    const badge = find("waiting-count");
    badge.hidden = !found.count;
    badge.textContent = found.count > 99 ? "99+" : found.count;
    if (!find("waiting").hidden) showWaiting();
  });
}

export async function showWaiting() {
  const found = await attempt(() => get("/queue"));
  if (!found) return;
  tiles.show(found.pictures);
  find("waiting-size").textContent = found.pictures.length
    ? `${count(found.pictures.length, "frame", "frames")}, ${bytes(found.bytes)} of at most ${bytes(found.limit_bytes)}. The oldest and those that look alike go first.`
    : "";
}

async function label() {
  const name = find("waiting-class").value.trim();
  if (!name) {
    say("First say what they are.");
    find("waiting-class").focus();
    return;
  }
  let done = 0;
  for (const ids of tiles.pieces()) done += (await attempt(() => post("/queue/label", { ids, class_name: name })))?.pictures ?? 0;
  if (done) say(`${count(done, "picture", "pictures")} of ${name} wait to be learned.`);
  await showWaiting();
}

async function drop() {
  for (const ids of tiles.pieces()) await attempt(() => post("/queue/drop", { ids }));
  await showWaiting();
}
