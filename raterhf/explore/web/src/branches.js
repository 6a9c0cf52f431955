// The texts that were gone on with or bookmarked: each keeps its rater and seed. They stay for the browser's session, and go out and come in
// as JSON.

import { el, personName, say, short } from "./dom.js";

const KEY = "raterhf.branches";
const FORM = "raterhf.multiverse";
const MOST = 500;
const MOST_BYTES = 5_000_000;

const isBranch = (one) =>
  one && typeof one === "object" && ["prompt", "text", "rater", "voice", "tag"].every((key) => typeof one[key] === "string") &&
  Number.isInteger(one.seed) && Array.isArray(one.ids) && one.ids.every((id) => Number.isInteger(id) && id >= 0);

export class Branches {
  constructor() {
    this.list = [];
    try {
      this.list = JSON.parse(sessionStorage.getItem(KEY) ?? "[]").filter(isBranch);
    } catch {
      // No storage, as in a page from the disk: branches last as long as the page.
    }
  }

  keep() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.list));
    } catch {
      // As above.
    }
  }

  add(branch, marked = false) {
    const same = (one) => one.prompt === branch.prompt && one.voice === branch.voice && one.ids.join() === branch.ids.join();
    const known = this.list.find(same);
    if (known) known.marked ||= marked;
    else this.list = [{ tag: "", marked, ...branch }, ...this.list].slice(0, MOST);
    this.keep();
  }

  node(open, redraw) {
    const row = (branch) => el("li", {},
      el("button", { type: "button", class: "chip", "aria-pressed": String(Boolean(branch.marked)), "aria-label": "Bookmark", title: "Bookmark", onclick: () => { branch.marked = !branch.marked; this.keep(); redraw(); } }, branch.marked ? "★" : "☆"),
      el("button", { type: "button", class: "link", onclick: () => open(branch) }, short(branch.text.trim() || "(the start)", 80)),
      el("span", { class: "soft" }, `${personName(branch.rater)}, seed ${branch.seed}, on: ${short(branch.prompt, 40)}`),
      el("input", { "aria-label": "Tag", placeholder: "tag", maxlength: 40, value: branch.tag, onchange: (event) => { branch.tag = event.target.value; this.keep(); } }),
      el("button", { type: "button", class: "chip", "aria-label": "Forget this branch", title: "Forget", onclick: () => { this.list = this.list.filter((one) => one !== branch); this.keep(); redraw(); } }, "×"));
    const sorted = [...this.list].sort((a, b) => Number(Boolean(b.marked)) - Number(Boolean(a.marked)));
    const file = el("input", { type: "file", accept: "application/json,.json", id: "import", onchange: (event) => this.read(event.target.files[0], redraw) });
    return el("section", { class: "branches" }, el("h2", {}, "Branches"),
      this.list.length ? el("ul", {}, sorted.map(row)) : el("p", { class: "soft" }, "None yet: go on with a text, or bookmark one."),
      el("div", { class: "row" },
        el("button", { type: "button", disabled: !this.list.length, onclick: () => this.write() }, "Export"),
        el("label", { class: "file" }, el("span", {}, "Import"), file)));
  }

  write() {
    const text = JSON.stringify({ form: FORM, version: 1, branches: this.list }, null, 1);
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: "multiverse.json" });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async read(file, redraw) {
    try {
      if (file.size > MOST_BYTES) throw new Error("it is too large");
      const given = JSON.parse(await file.text());
      if (given?.form !== FORM || given.version !== 1 || !Array.isArray(given.branches) || !given.branches.every(isBranch)) throw new Error("it is not what Export writes");
      for (const branch of given.branches.reverse()) this.add(branch, branch.marked);
      redraw();
      say(`${given.branches.length} branches are in.`);
    } catch (error) {
      say(`${file.name} was not read: ${error.message}; choose a file that Export wrote.`, true);
    }
  }
}
