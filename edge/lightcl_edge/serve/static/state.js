// What is known of the board, and who wants to hear when it changes.
export const state = { classes: [], taught: {}, settings: null, generation: -1, learning: { running: false }, frame: 0, source: { kind: "" }, queue: 0, mqtt: null };

const listeners = {};

export function when(kind, listener) {
  (listeners[kind] ??= []).push(listener);
}

export function tell(kind, content) {
  for (const listener of listeners[kind] ?? []) listener(content);
}
