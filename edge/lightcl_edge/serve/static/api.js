// Asks the server. Every error is one message that a person can read.
const token = document.querySelector('meta[name="page-token"]').content;

export class Problem extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

async function ask(method, path, body, signal) {
  const headers = { "x-page-token": token };
  if (body !== undefined && !(body instanceof Blob)) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The board does not answer. Is it on?", 0);
  }
  if (answer.status === 401) location.assign("/login");
  if (answer.status === 403) location.reload();
  if (!answer.ok) {
    const found = await answer.json().catch(() => null);
    throw new Problem(found?.error?.message ?? `The board answered ${answer.status}.`, answer.status);
  }
  return answer;
}

export const get = async (path) => (await ask("GET", path)).json();
export const text = async (path) => (await ask("GET", path)).text();
export const post = async (path, body = {}) => (await ask("POST", path, body)).json();
export const press = async (path) => (await ask("POST", path)).json();
export const put = async (path, body) => (await ask("PUT", path, body)).json();
export const send = async (path, file) => (await ask("POST", path, file)).json();

// The next frame after a number: its picture and its number; null when none came in time.
export async function frameAfter(number, signal) {
  const answer = await ask("GET", `/frames/latest?after=${number}`, undefined, signal);
  if (answer.status === 204) return null;
  return { number: Number(answer.headers.get("x-frame")), picture: await answer.blob() };
}

export async function signOut() {
  await fetch("/logout", { method: "POST", headers: { "x-page-token": token } });
  location.assign("/login");
}
