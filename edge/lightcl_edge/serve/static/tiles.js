// A grid of pictures of which many can be selected: with clicks, Shift for a range, and the keyboard.
import { find, make } from "./dom.js";

export class Tiles {
  constructor(name, { source, text, why, empty }) {
    this.grid = find(`${name}-grid`);
    this.bar = find(`${name}-bar`);
    this.all = this.bar.querySelector("[data-select]");
    this.buttons = [find(`${name}-label`), find(`${name}-drop`)];
    Object.assign(this, { source, text, why, empty });
    this.chosen = new Set();
    this.items = [];
    this.last = 0;
    this.all.addEventListener("click", () => this.selectAll());
    this.grid.addEventListener("keydown", (event) => this.move(event));
  }

  show(items) {
    this.items = items;
    const ids = new Set(items.map((each) => each.id));
    for (const id of this.chosen) if (!ids.has(id)) this.chosen.delete(id);
    const there = new Map([...this.grid.querySelectorAll(".tile")].map((tile) => [tile.dataset.id, tile]));
    const tiles = items.map((each, place) => this.tile(each, place, there.get(each.id)));
    this.grid.replaceChildren(...tiles);
    if (!items.length && this.empty) this.grid.append(make("p", { className: "empty", textContent: this.empty }));
    this.all.disabled = !items.length;
    this.update();
  }

  tile(item, place, old) {
    const tile = old ?? make("button", { className: "tile", type: "button" }, make("img", { src: this.source(item), alt: "", loading: "lazy" }), make("span", {}), make("span", { className: "why" }));
    tile.dataset.id = item.id;
    const [label, why] = tile.querySelectorAll("span");
    label.textContent = this.text(item);
    why.textContent = this.why?.(item) ?? "";
    why.hidden = !why.textContent;
    tile.onclick = (event) => this.click(place, event.shiftKey);
    return tile;
  }

  click(place, range) {
    const on = !this.chosen.has(this.items[place].id);
    const from = range ? Math.min(this.last, place) : place;
    const to = range ? Math.max(this.last, place) : place;
    for (let at = from; at <= to; at += 1) this.chosen[on ? "add" : "delete"](this.items[at].id);
    this.last = place;
    this.update();
  }

  selectAll() {
    const every = this.chosen.size === this.items.length;
    this.chosen = new Set(every ? [] : this.items.map((each) => each.id));
    this.update();
  }

  move(event) {
    const tiles = [...this.grid.querySelectorAll(".tile")];
    const at = tiles.indexOf(document.activeElement);
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (at < 0 || !step || !tiles[at + step]) return;
    event.preventDefault();
    tiles[at + step].focus();
  }

  update() {
    for (const tile of this.grid.querySelectorAll(".tile")) tile.setAttribute("aria-pressed", this.chosen.has(tile.dataset.id));
    for (const button of this.buttons) button.disabled = !this.chosen.size;
    this.all.textContent = this.items.length && this.chosen.size === this.items.length ? "Select none" : "Select all";
  }

  // The selected ids, in pieces that one request may carry.
  pieces() {
    const ids = [...this.chosen];
    return Array.from({ length: Math.ceil(ids.length / 400) }, (_, at) => ids.slice(at * 400, at * 400 + 400));
  }
}
