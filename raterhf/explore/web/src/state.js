// What the page shows, all of it in the address bar: a reload, a bookmark or the address in another tab of this server shows it again.

const DEFAULTS = {
  view: "ask", prompt: "", rater: "new", n: 12, seed: 0, asked: 0, // the question
  pick: "", by: "pca", // a person of the map, and how it places people
  voice: "everyone", said: "", begin: "", shape: "blocks", // the multiverse: a text by its tokens, joined by dots, or in words
};

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = { ...DEFAULTS };
  for (const [key, value] of Object.entries(DEFAULTS)) {
    if (!given.has(key)) continue;
    const number = Number(given.get(key));
    if (typeof value === "string") found[key] = given.get(key);
    else if (Number.isInteger(number)) found[key] = number;
  }
  return found;
}

export let state = read();
const listeners = [];
export const onState = (listener) => listeners.push(listener);

function address() {
  const told = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== DEFAULTS[key]) told.set(key, value);
  return `#${told}`;
}

// Changes what is shown. With `step` the browser's back button undoes it.
export function change(changes, step = false) {
  state = { ...state, ...changes };
  if (address() !== location.hash) history[step ? "pushState" : "replaceState"](null, "", address());
}

addEventListener("popstate", () => {
  state = read();
  for (const listener of listeners) listener();
});
