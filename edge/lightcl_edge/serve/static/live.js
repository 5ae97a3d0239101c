// The live picture, what it shows, and the part of it that counts.
import { frameAfter, put, send } from "./api.js";
import { attempt, count, find, make, percent } from "./dom.js";
import { state, when } from "./state.js";

const stage = find("stage");
const picture = find("picture");
const box = find("region");
let running = null;
let pressed = null;

export function startLive() {
  find("draw").addEventListener("click", () => drawing(find("draw").getAttribute("aria-pressed") !== "true"));
  find("whole").addEventListener("click", () => setRegion(null));
  find("region-numbers").addEventListener("submit", fromNumbers);
  find("send").addEventListener("change", sendPhoto);
  stage.addEventListener("pointerdown", begin);
  stage.addEventListener("pointermove", drag);
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", () => (pressed = null));
  picture.addEventListener("load", showRegion);
  addEventListener("resize", showRegion);
  when("settings", showRegion);
  when("live", showAnswer);
  when("status", showStatus);
}

// Pictures are asked for only while somebody can see them, one at a time: a slow network gets fewer.
export function watch(on) {
  if (on === (running !== null)) return;
  if (running) {
    running.abort();
    running = null;
    return;
  }
  running = new AbortController();
  pull(running.signal);
}

async function pull(signal) {
  let number = 0;
  while (!signal.aborted) {
    try {
      const frame = await frameAfter(number, signal);
      if (frame) {
        number = frame.number;
        await display(frame.picture);
        state.frame = number;
      }
    } catch {
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  }
}

async function display(blob) {
  const address = URL.createObjectURL(blob);
  const before = picture.src;
  picture.src = address;
  await picture.decode().catch(() => null);
  picture.hidden = false;
  find("stage-note").hidden = true;
  stage.classList.remove("empty");
  if (picture.naturalWidth) stage.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

function showStatus(status) {
  const source = status.source;
  find("send-row").hidden = source.kind !== "none";
  find("hold").hidden = source.kind === "none";
  find("region-row").hidden = source.kind === "none" && !state.settings?.region;
  const note = find("stage-note");
  stage.classList.toggle("empty", source.kind === "none" && !state.frame);
  if (source.kind === "none" && !state.frame) {
    note.textContent = "There is no camera. Teach with “Add pictures from this device”, then ask “What is on a photo?”";
    note.hidden = false;
  } else if (!source.working) {
    note.textContent = source.message || "The camera gives no pictures.";
    note.hidden = false;
  } else if (!picture.hidden) {
    note.hidden = true;
  }
  find("problem").textContent = status.problem ?? "";
  find("problem").hidden = !status.problem;
  if (!status.live) showAnswer({ answer: { kind: "nothing learned", class_name: null, probability: 0 }, prediction: null });
  const rate = status.predictions_per_second;
  find("speed").textContent = rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} predictions a second` : "";
}

const KINDS = { sure: "sure", unsure: "unsure", "never seen": "never seen" };

function showAnswer(live) {
  const { answer, prediction } = live;
  find("answer").dataset.kind = answer.kind;
  const texts = {
    sure: answer.class_name,
    unsure: answer.class_name ? `Perhaps ${answer.class_name}` : "Not sure",
    "never seen": "Never seen this",
    "nothing learned": state.classes.length ? "No picture yet" : "I know nothing yet",
  };
  find("says").textContent = texts[answer.kind];
  const badge = KINDS[answer.kind];
  find("kind").textContent = badge ? (answer.kind === "never seen" ? "never seen" : `${badge}, ${percent(answer.probability)}`) : "";
  if (!prediction) {
    find("top").replaceChildren();
    if (answer.kind === "nothing learned") find("speed").textContent = "Teach me two things that you can show to the camera.";
    return;
  }
  const rows = prediction.top.slice(0, 3);
  const list = find("top");
  while (list.children.length > rows.length) list.lastChild.remove();
  while (list.children.length < rows.length) list.append(make("li", {}, make("span", { className: "name" }), make("meter", { min: 0, max: 1, "aria-hidden": "true" }), make("span", { className: "value" })));
  rows.forEach((each, at) => {
    const [name, meter, value] = list.children[at].children;
    name.textContent = each.class_name;
    meter.value = each.probability;
    value.textContent = percent(each.probability);
  });
  const rate = live.predictions_per_second;
  if (rate) find("speed").textContent = `${count(Math.round(rate * 10) / 10, "prediction", "predictions")} a second`;
}

async function sendPhoto(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) await attempt(() => send("/frames", file));
}

// Where the picture lies on the stage, which may have bands beside it.
function place() {
  const frame = stage.getBoundingClientRect();
  const scale = Math.min(frame.width / picture.naturalWidth, frame.height / picture.naturalHeight);
  const [width, height] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
  return { left: (frame.width - width) / 2, top: (frame.height - height) / 2, width, height, frame };
}

function showRegion() {
  const region = pressed?.region ?? state.settings?.region;
  box.hidden = !region || !picture.naturalWidth;
  find("whole").hidden = !state.settings?.region;
  if (box.hidden) return;
  const { left, top, width, height } = place();
  Object.assign(box.style, { left: `${left + region.x * width}px`, top: `${top + region.y * height}px`, width: `${region.width * width}px`, height: `${region.height * height}px` });
}

function drawing(on) {
  find("draw").setAttribute("aria-pressed", on);
  find("draw").textContent = on ? "Stop choosing" : "Choose the part that counts";
  stage.classList.toggle("drawing", on);
  const form = find("region-numbers");
  form.hidden = !on;
  const region = state.settings?.region ?? { x: 0, y: 0, width: 1, height: 1 };
  for (const name of ["x", "y", "width", "height"]) form.elements[name].value = Math.round(region[name] * 100);
}

function point(event) {
  const { left, top, width, height, frame } = place();
  const clip = (value) => Math.min(1, Math.max(0, value));
  return [clip((event.clientX - frame.left - left) / width), clip((event.clientY - frame.top - top) / height)];
}

function begin(event) {
  if (!stage.classList.contains("drawing") || !picture.naturalWidth) return;
  event.preventDefault();
  stage.setPointerCapture(event.pointerId);
  pressed = { from: point(event), region: null };
}

function drag(event) {
  if (!pressed) return;
  const [x, y] = point(event);
  const [left, top] = [Math.min(x, pressed.from[0]), Math.min(y, pressed.from[1])];
  pressed.region = { x: left, y: top, width: Math.abs(x - pressed.from[0]), height: Math.abs(y - pressed.from[1]) };
  showRegion();
}

async function end() {
  const region = pressed?.region;
  if (region && region.width > 0.02 && region.height > 0.02) {
    await setRegion(region);
    drawing(false);
  }
  pressed = null;
  showRegion();
}

async function fromNumbers(event) {
  event.preventDefault();
  const form = event.target;
  const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(form.elements[name].value) / 100);
  await setRegion({ x, y, width: Math.min(width, 1 - x), height: Math.min(height, 1 - y) });
  drawing(false);
}

const setRegion = (region) => attempt(() => put("/settings", { ...state.settings, region }));
