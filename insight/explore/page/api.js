/* What the server answers. Light reads are plain requests; whatever runs the encoder waits its turn in gradio's queue. */

export class Problem extends Error {}

/* Sends and reads to the end. A request given up because its view was left stays an AbortError, at whatever byte. */
async function fetched(path, options, read) {
  let response;
  try {
    response = await fetch(path, options);
    return {response, body: await read(response)};
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!response) throw new Problem("the explorer does not answer; start it again in its terminal");
    if (response.ok) throw new Problem("the answer was cut off; try again");
    return {response, body: null};
  }
}

async function ask(path, options) {
  const {response, body} = await fetched(path, options, response => response.json());
  if (!response.ok) throw new Problem(body?.error ?? `the explorer answered ${response.status}; is it still running?`);
  return body;
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
  const {response, body} = await fetched(path + "/" + encodeURIComponent(event), {}, response => response.text());
  if (!response.ok) throw new Problem(`the explorer answered ${response.status}; is it still running?`);
  for (const block of body.replace(/\r/g, "").split("\n\n")) {
    const kind = /^event: (.*)$/m.exec(block)?.[1],
      text = /^data: (.*)$/m.exec(block)?.[1];
    if (kind === "complete") return JSON.parse(text)[0];
    if (kind === "error") throw new Problem(JSON.parse(text)?.error ?? "the explorer could not answer");
  }
  throw new Problem("the answer was cut off; try again");
}

/* Of the questions that go through one `latest()` the last counts: an answer that comes late finds nobody waiting. */
export function latest() {
  let last;
  return question => {
    last = question;
    return new Promise((resolve, reject) =>
      question.then(
        value => last === question && resolve(value),
        error => last === question && reject(error),
      ),
    );
  };
}

/* `version` changes when the picture may: the browser keeps it until then. */
export const exampleUrl = (m, id, rank, of, version) =>
  `/api/concepts/${id}/examples/${rank}.jpg?m=${m}&of=${of}&v=${version}`;
export const photoUrl = photo => `/api/photos/${photo}.jpg`;

export function loadPhoto(photo) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Problem("the photo cannot be shown any more; drop it again"));
    image.src = photoUrl(photo);
  });
}
