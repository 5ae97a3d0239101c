// What it knows: classes, what is taken for what, how far to trust it, and the way back.
import { get, post, text } from "./api.js";
import { attempt, count, find, make, question, say, share, when as moment } from "./dom.js";
import { state, when } from "./state.js";

export function startKnows() {
  when("generation", () => {
    if (!find("knows").hidden) showKnows();
  });
}

export async function showKnows() {
  const [knowledge, history] = await Promise.all([attempt(() => get("/classes")), attempt(() => get("/history"))]);
  if (!knowledge || !history) return;
  const total = knowledge.classes.length;
  find("knows-lead").textContent = total
    ? `${count(total, "class", "classes")} of at most ${knowledge.capacity}` + (knowledge.accuracy === null ? "." : `; ${tested(knowledge.confusion)}`)
    : "Nothing yet. Teach it two things, and it can tell them apart.";
  find("classes").replaceChildren(total ? classTable(knowledge.classes) : "");
  find("history").replaceChildren(generations(history));
  find("evaluation").innerHTML = (await attempt(() => text("/evaluation"))) ?? "";
}

function tested(confusion) {
  const all = confusion.flat().reduce((sum, each) => sum + each, 0);
  const right = confusion.reduce((sum, row, at) => sum + row[at], 0);
  return `of ${count(all, "picture", "pictures")} that it never learned from ${right} ${right === 1 ? "is" : "are"} right.`;
}

const table = (names, rows) => make("table", { className: "cards" }, make("thead", {}, make("tr", {}, ...names.map((name) => make(name ? "th" : "td", name ? { scope: "col", textContent: name } : {})))), make("tbody", {}, ...rows));

function action(text, label, work, kind = "") {
  const button = make("button", { className: `small ${kind}`, textContent: text, "aria-label": label });
  button.addEventListener("click", () => work());
  return button;
}

function classTable(classes) {
  const rows = classes.map((each) => {
    const name = each.class_name;
    const actions = make("td", { className: "actions" }, action("Rename", `Rename ${name}`, () => rename(name)), action("Erase", `Erase ${name}`, () => erase(name), "bad"));
    return make("tr", {}, make("td", { className: "name", textContent: name }), make("td", { "data-label": "pictures", textContent: each.pictures ?? "came with the bundle" }), make("td", { "data-label": "right" }, share(each.accuracy, `${Math.round(each.accuracy * each.held_out)} of ${each.held_out}`)), actions);
  });
  return table(["class", "pictures", "right, of pictures kept apart", ""], rows);
}

async function rename(name) {
  const to = await question({ title: `Rename ${name}`, text: "Earlier generations keep the old name.", yes: "Rename", name });
  if (typeof to !== "string" || to === name) return;
  if (await attempt(() => post("/classes/rename", { class_name: name, to }))) say(`${name} is ${to} now.`);
}

async function erase(name) {
  const text = `Everything that was learned of ${name} is erased, in every generation, and its pictures that wait. This can't be undone.`;
  if (!(await question({ title: `Erase ${name}?`, text, yes: "Erase", bad: true }))) return;
  if (await attempt(() => post("/forget", { class_name: name }))) say(`${name} is forgotten.`);
}

function generations(history) {
  const rows = history.generations.map((each) => {
    const name = make("td", { className: "name" }, each.number ? `Generation ${each.number}` : "As exported", each.in_use ? make("span", { className: "now", textContent: "in use" }) : null);
    const go = each.in_use || each.problem ? "" : action("Go back to it", `Go back to generation ${each.number}`, () => goBack(each.number));
    const known = each.problem ?? (each.classes.join(", ") || "nothing");
    return make("tr", {}, name, make("td", { "data-label": "made", textContent: each.created ? moment(each.created) : "–" }), make("td", { "data-label": "knows", textContent: known }), make("td", { "data-label": "right", textContent: each.tested ? `${each.right} of ${each.tested}` : "–" }), make("td", { className: "actions" }, go));
  });
  return table(["generation", "made", "knows", "right, of pictures kept apart", ""], rows);
}

async function goBack(to) {
  if (await attempt(() => post("/rollback", { to }))) say(to ? `Generation ${to} is in use again.` : "It is as it was exported.");
}
