// Small helpers: find, make, say, ask.
export const find = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((each) => each !== null && each !== undefined));
  return node;
}

let timer = 0;
export function say(text, bad = false) {
  const notice = find("notice");
  notice.textContent = text;
  notice.classList.toggle("bad", bad);
  notice.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (notice.hidden = true), bad ? 8000 : 3500);
}

// Runs what a person asked for, and says what went wrong.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

// A question before something that can't be undone, or a question for a name; null for no.
export function question({ title, text, yes, name, bad }) {
  const box = find("ask");
  find("ask-title").textContent = title;
  find("ask-text").textContent = text;
  find("ask-yes").textContent = yes;
  find("ask-yes").classList.toggle("bad", Boolean(bad));
  find("ask-row").hidden = name === undefined;
  const field = find("ask-name");
  field.required = name !== undefined;
  field.value = name ?? "";
  box.returnValue = "no";
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => resolve(box.returnValue === "yes" ? field.value.trim() || true : null), { once: true });
  });
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`);
export const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

export function bytes(size) {
  if (size === null || size === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 100 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export const when = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export function share(value, text = percent(value)) {
  if (value === null || value === undefined) return make("span", { className: "soft", textContent: "not tested yet" });
  const meter = make("meter", { min: 0, max: 1, value, "aria-label": percent(value) });
  return make("span", { className: "share" }, meter, make("span", { textContent: text }));
}
