// What it knows: classes, what is taken for what, how far to trust it, and the way back.
import { get, post } from "./api.js";
import { attempt, count, find, make, percent, question, say, share, when as moment } from "./dom.js";
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
    ? `${count(total, "class", "classes")} of at most ${knowledge.capacity}` + (knowledge.accuracy === null ? "." : `; ${percent(knowledge.accuracy)} right on pictures that it never learned from.`)
    : "Nothing yet. Teach it two things, and it can tell them apart.";
  find("classes").replaceChildren(total ? classTable(knowledge.classes) : "");
  find("confusion").replaceChildren(confusion(knowledge));
  find("calibration").replaceChildren(calibration(knowledge));
  find("history").replaceChildren(generations(history));
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
    return make("tr", {}, make("td", { className: "name", textContent: name }), make("td", { "data-label": "pictures", textContent: each.pictures ?? "came with the bundle" }), make("td", { "data-label": `right (${each.held_out} tested)` }, share(each.accuracy)), actions);
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
  if (!(await question({ title: `Erase ${name}?`, text, yes: "Erase" }))) return;
  if (await attempt(() => post("/forget", { class_name: name }))) say(`${name} is forgotten.`);
}

function confusion(knowledge) {
  const rows = knowledge.confusion;
  const names = knowledge.classes.map((each) => each.class_name);
  const tested = rows.reduce((sum, row) => sum + row.reduce((all, each) => all + each, 0), 0);
  if (!tested) return make("p", { className: "soft", textContent: "Five pictures of a class or more, and a few are kept apart to test it." });
  const head = make("tr", {}, make("td"), ...names.map((name) => make("th", { scope: "col" }, make("span", { className: "down", textContent: name }))));
  const body = rows.map((row, at) => {
    const all = row.reduce((sum, each) => sum + each, 0) || 1;
    return make("tr", {}, make("th", { scope: "row", textContent: names[at] }), ...row.map((each, to) => cell(each, each / all, at === to, `${names[at]} called ${names[to]}: ${each}`)));
  });
  const picture = make("table", { className: "matrix" }, make("thead", {}, head), make("tbody", {}, ...body));
  const legend = make("p", { className: "soft", textContent: "Row: what it is. Column: what it is taken for." });
  return make("div", {}, legend, make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "What it takes for what" }, picture));
}

function cell(number, part, right, title) {
  const shade = make("i");
  shade.style.opacity = number ? 0.18 + 0.82 * part : 0;
  const found = make("td", { title }, shade, make("span", { textContent: number || "" }));
  found.className = [right ? "" : "wrong", part > 0.55 ? "dark" : ""].join(" ");
  return found;
}

function calibration(knowledge) {
  if (!knowledge.calibration.length) return make("p", { className: "soft", textContent: "Not tested yet." });
  const rows = knowledge.calibration.flatMap((each) => {
    const says = `says ${percent(each.mean_probability)}`;
    return [make("span", { textContent: says }), make("meter", { min: 0, max: 1, value: each.accuracy, "aria-label": `${says}, right ${percent(each.accuracy)}` }), make("span", { textContent: `right ${percent(each.accuracy)} of ${each.predictions}` })];
  });
  const error = knowledge.calibration_error;
  const text = error === null ? "" : `On average, probability and truth are ${percent(error)} apart.`;
  return make("div", {}, make("div", { className: "bars" }, ...rows), make("p", { className: "soft", textContent: text }));
}

function generations(history) {
  const rows = history.generations.map((each) => {
    const name = make("td", { className: "name" }, each.number ? `Generation ${each.number}` : "As exported", each.in_use ? make("span", { className: "now", textContent: "in use" }) : null);
    const go = each.in_use || each.problem ? "" : action("Go back to it", `Go back to generation ${each.number}`, () => goBack(each.number));
    const known = each.problem ?? (each.classes.join(", ") || "nothing");
    return make("tr", {}, name, make("td", { "data-label": "made", textContent: each.created ? moment(each.created) : "–" }), make("td", { "data-label": "knows", textContent: known }), make("td", { "data-label": "right", textContent: percent(each.accuracy) }), make("td", { className: "actions" }, go));
  });
  return table(["generation", "made", "knows", "right", ""], rows);
}

async function goBack(to) {
  if (await attempt(() => post("/rollback", { to }))) say(to ? `Generation ${to} is in use again.` : "It is as it was exported.");
}
