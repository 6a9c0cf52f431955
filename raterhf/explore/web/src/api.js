// What the page asks of the server, or, in a page of one file, of what was computed beforehand.
//
// Every answer is a list of events, (kind, data); the last one is `done` or `failed`.

const kept = JSON.parse(document.getElementById("kept")?.textContent ?? "null");
export const isStatic = kept !== null;

// One request in one writing: Python writes the same for what it keeps (static.py).
function keyOf(name, body) {
  return `${name} ${JSON.stringify(Object.fromEntries(Object.entries(body).sort(([a], [b]) => (a < b ? -1 : 1))))}`;
}

export const isKept = (name, body) => !isStatic || keyOf(name, body) in kept;

// Asks, calls `on[kind](data)` for every event, and returns what the work gives in the end. Throws an Error with one sentence.
export async function call(name, body = {}, on = {}, signal = undefined) {
  for await (const [kind, data] of isStatic ? replayed(name, body) : streamed(name, body, signal)) {
    if (kind === "failed") throw new Error(data);
    if (kind === "done") return data;
    on[kind]?.(data);
  }
  throw new Error("the answer broke off; is `raterhf explore` still running in its terminal?");
}

async function* replayed(name, body) {
  const events = kept[keyOf(name, body)];
  if (!events) throw new Error("this page holds what was computed beforehand, and not this; `raterhf explore` on the run answers everything");
  yield* events;
}

async function* streamed(name, body, signal) {
  let response;
  try {
    response = await fetch(`./api/${name}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("nobody answers; is `raterhf explore` still running in its terminal?");
  }
  if (!response.ok) throw new Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const [, kind, data] = /^event: (\w+)\ndata: (.*)$/s.exec(part);
      yield [kind, JSON.parse(data)];
    }
  }
}
