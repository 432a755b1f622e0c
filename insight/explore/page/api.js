/* What the server answers. Light reads are plain requests; whatever runs the encoder waits its turn in gradio's queue. */

export class Problem extends Error {}

async function answer(response) {
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(body?.error ?? `the explorer answered ${response.status}; is it still running?`);
  return body;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("the explorer does not answer; start it again in its terminal");
  }
  return answer(response);
}

export function get(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return ask(path + (query ? "?" + query : ""), {signal});
}

export const send = (path, body) =>
  ask(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
export const remove = path => ask(path, {method: "DELETE"});
export const upload = file =>
  ask("/api/photos", {method: "POST", headers: {"Content-Type": "application/octet-stream"}, body: file});

/* One of the queued functions, with its arguments in their order. */
export async function call(name, ...data) {
  const path = "/gradio_api/call/" + name;
  const {event_id: event} = await ask(path, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({data}),
  });
  const response = await fetch(path + "/" + encodeURIComponent(event)).catch(() => null);
  if (!response?.ok) throw new Problem("the explorer does not answer; start it again in its terminal");
  const stream = (await response.text()).replace(/\r/g, "");
  for (const block of stream.split("\n\n")) {
    const kind = /^event: (.*)$/m.exec(block)?.[1],
      text = /^data: (.*)$/m.exec(block)?.[1];
    if (kind === "complete") return JSON.parse(text)[0];
    if (kind === "error") throw new Problem(JSON.parse(text)?.error ?? "the explorer could not answer");
  }
  throw new Problem("the answer was cut off; try again");
}

/* `version` changes when the picture may: the browser keeps it until then. */
export const exampleUrl = (m, id, rank, of, version) =>
  `/api/concepts/${id}/examples/${rank}.jpg?m=${m}&of=${of}&v=${version}`;
export const photoUrl = photo => `/api/photos/${photo}.jpg`;
