// Learn: what will be learned, how far it is, and what it changed.
import { get, post } from "./api.js";
import { attempt, bytes, count, find, make, percent, say, share } from "./dom.js";
import { state, when } from "./state.js";
import { Tiles } from "./tiles.js";

const PHASES = [
  ["start", "start"],
  ["extract", "look at the pictures"],
  ["train", "learn"],
  ["gate", "check"],
  ["commit", "keep"],
];
const STANDS_FOR = { install: "start", import: "train" };
let pile;

export function startLearn() {
  pile = new Tiles("pile", { source: (each) => `/api/v1/taught/${each.id}`, text: (each) => each.class_name });
  find("learn-start").addEventListener("click", () => learn(false));
  find("pile-label").addEventListener("click", relabel);
  find("pile-drop").addEventListener("click", () => change("/taught/drop", {}));
  find("phases").replaceChildren(...PHASES.map(([id, text]) => make("li", { id: `phase-${id}`, textContent: text })));
  when("learning", showLearning);
  when("taught", () => {
    if (!find("learn").hidden) showLearn();
  });
}

async function learn(anyway) {
  find("outcome").replaceChildren();
  find("against").replaceChildren();
  const found = await attempt(() => post("/learn", { anyway }));
  if (found) showLearning(found);
}

export async function showLearn() {
  const found = await attempt(() => get("/taught"));
  if (!found) return;
  pile.show(found.pictures);
  const waits = found.pictures.length > 0;
  find("pile-title").hidden = find("pile-bar").hidden = !waits;
  showOutcome(state.learning.outcome);
  await showPlan(found);
}

async function showPlan(taught) {
  const names = Object.entries(taught.classes);
  const busy = state.learning.running;
  find("learn-start").disabled = busy || !names.length;
  if (busy) return;
  find("learn-lead").textContent = names.length
    ? `${count(taught.pictures.length, "picture", "pictures")}: ${names.map(([name, each]) => `${each} of ${name}`).join(", ")}.`
    : "Nothing waits to be learned. Teach some pictures first.";
  find("learn-plan").textContent = names.length ? "Working out what it takes…" : "";
  if (!names.length) return;
  const plan = await attempt(() => get("/learn/plan"));
  if (!plan || state.learning.running) return;
  const news = plan.new_classes.length ? `New: ${plan.new_classes.join(", ")}. ` : "";
  const memory = plan.peak_bytes ? `It needs at most ${bytes(plan.peak_bytes)} of memory for a moment; ${bytes(plan.allowed_bytes)} are free. ` : "";
  find("learn-plan").textContent = plan.problem ?? `${news}${memory}Predictions go on meanwhile.`;
}

function showLearning(learning) {
  const ended = state.learning.running && !learning.running;
  state.learning = learning;
  find("learn-progress").hidden = !learning.running;
  find("learn-start").disabled = learning.running || !Object.keys(state.taught).length;
  find("learn-start").textContent = learning.running ? "Learning…" : "Learn";
  if (learning.running) {
    find("learn-lead").textContent = `Learning from ${count(learning.pictures, "picture", "pictures")}.`;
    find("learn-plan").textContent = "";
    showPhase(learning);
    find("outcome").replaceChildren();
    find("against").replaceChildren();
  } else if (ended) {
    const outcome = learning.outcome;
    say(outcome?.kind === "learned" ? "Learned. The live picture uses it now." : "It was not learned.", outcome?.kind !== "learned");
    if (!find("learn").hidden) showLearn();
  }
}

function showPhase(learning) {
  const now = PHASES.findIndex(([id]) => id === (STANDS_FOR[learning.phase] ?? learning.phase));
  PHASES.forEach(([id], at) => (find(`phase-${id}`).dataset.state = at < now ? "done" : at === now ? "now" : "next"));
  const inside = learning.total ? learning.done / learning.total : 0;
  find("learn-bar").value = (Math.max(0, now) + inside) / PHASES.length;
  const step = learning.step ? `${learning.step}, ${learning.done} of ${learning.total}` : "";
  find("learn-step").textContent = [step, learning.message].filter(Boolean).join("; ") || `${learning.seconds.toFixed(0)} s`;
}

async function showOutcome(outcome) {
  const place = find("outcome");
  if (!outcome) return place.replaceChildren();
  const rows = [...outcome.per_class, ...(await newClasses(outcome))];
  if (state.learning.running) return;
  const good = outcome.kind === "learned";
  const title = { learned: "Learned", refused: "Not learned: something speaks against it", failed: "Not learned" }[outcome.kind];
  const box = make("div", { className: good ? "outcome" : "outcome bad" }, make("h3", { textContent: title }), make("p", { textContent: good ? summary(outcome) : outcome.message }));
  box.append(...outcome.warnings.map((each) => make("p", { textContent: each })));
  if (rows.length) box.append(beforeAndAfter(rows));
  if (outcome.kind === "refused") box.append(wayOut());
  place.replaceChildren(box);
  if (outcome.kind === "refused") showAgainst();
}

// How well the new classes are recognised, on pictures that were kept apart.
async function newClasses(outcome) {
  if (outcome.kind !== "learned" || !outcome.new_classes.length) return [];
  const knowledge = await get("/classes").catch(() => ({ classes: [] }));
  const shown = new Set(outcome.per_class.map((each) => each.class_name));
  const news = knowledge.classes.filter((each) => outcome.new_classes.includes(each.class_name) && !shown.has(each.class_name));
  return news.map((each) => ({ class_name: each.class_name, pictures: each.held_out, learned: 0, before: null, after: each.accuracy }));
}

function summary(outcome) {
  const parts = [];
  if (outcome.new_classes.length) parts.push(`New: ${outcome.new_classes.join(", ")}.`);
  if (outcome.held_out) parts.push(`Of ${count(outcome.held_out, "picture", "pictures")} kept apart for testing ${outcome.right} ${outcome.right === 1 ? "is" : "are"} right.`);
  if (outcome.seconds !== null) parts.push(`It took ${outcome.seconds.toFixed(1)} s and ${bytes(outcome.peak_bytes)} of memory, which is free again.`);
  return parts.join(" ") || "It is in use.";
}

const right = (each, when) => share(each[when], `${Math.round(each[when] * each.pictures)} of ${each.pictures}`);

function beforeAndAfter(classes) {
  const rows = classes.map((each) => {
    const change = each.before === null ? "new" : each.after >= each.before ? (each.after > each.before ? "better" : "as before") : "worse";
    const cells = [make("td", { className: "name", textContent: each.class_name }), make("td", { "data-label": "before" }, each.before === null ? make("span", { className: "soft", textContent: "new" }) : right(each, "before")), make("td", { "data-label": "after" }, right(each, "after")), make("td", { "data-label": "", className: "soft", textContent: each.learned ? `${change}; ${each.learned} of these were learned from` : change })];
    return make("tr", {}, ...cells);
  });
  const head = make("tr", {}, ...["class", "right before", "right after"].map((text) => make("th", { scope: "col", textContent: text })), make("td"));
  return make("table", { className: "cards" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function wayOut() {
  const anyway = make("button", { className: "bad", textContent: "Learn it anyway" });
  anyway.addEventListener("click", () => learn(true));
  return make("div", {}, make("p", { textContent: "Your pictures are kept below. Check their labels, change or remove the wrong ones, and learn again." }), make("p", { className: "row" }, anyway));
}

// The pictures that speak against what was taught.
async function showAgainst() {
  const place = find("against");
  if (!place.hasChildNodes()) place.replaceChildren(make("p", { className: "soft", textContent: "Looking for the pictures that speak against it…" }));
  const found = await attempt(() => get("/learn/contradictions"));
  if (!found?.pictures.length) return place.replaceChildren();
  const tiles = found.pictures.map((each) => {
    const text = `You say ${each.class_name}, I say ${each.says} (${percent(each.probability)})`;
    const drop = make("button", { className: "small", textContent: "Remove", "aria-label": `Remove this picture of ${each.class_name}` });
    drop.addEventListener("click", () => fix(drop, () => post("/taught/drop", { ids: [each.id] })));
    const agree = make("button", { className: "small", textContent: `It is ${each.says}` });
    agree.addEventListener("click", () => fix(agree, () => post("/taught/relabel", { ids: [each.id], class_name: each.says })));
    return make("div", { className: "tile against" }, make("img", { src: `/api/v1/taught/${each.id}`, alt: text, loading: "lazy" }), make("p", { textContent: text }), make("p", { className: "row" }, agree, drop));
  });
  place.replaceChildren(make("h3", { textContent: "These pictures speak against it" }), make("div", { className: "grid wide" }, ...tiles));
}

async function fix(button, work) {
  if (await attempt(work)) button.closest(".tile").remove();
}

async function relabel() {
  const name = find("pile-class").value.trim();
  if (!name) {
    say("First say what they are.");
    find("pile-class").focus();
    return;
  }
  await change("/taught/relabel", { class_name: name });
}

async function change(path, more) {
  for (const ids of pile.pieces()) await attempt(() => post(path, { ids, ...more }));
  await showLearn();
}
