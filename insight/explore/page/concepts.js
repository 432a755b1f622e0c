/* The dictionary: every concept a card, found by word, by meaning, by level, by how sure and how frequent it is. */
import {call, get, latest} from "./api.js";
import {count, labelled, make, plural, put, select} from "./dom.js";
import {app, model, remember} from "./main.js";
import {card} from "./rows.js";

const PAGE = 48;

export async function showConcepts(place) {
  const here = model(),
    given = name => app.parameters.get(name) ?? "";
  const asked = {
    text: given("text"),
    level: given("level"),
    confidence: given("confidence"),
    frequency: given("frequency"),
    sort: given("sort") || "frequency",
  };
  const list = make("ul", {class: "cards", "aria-label": "Concepts"}),
    found = make("p", {class: "count", role: "status"});
  const more = make("button", {class: "plain", type: "button", text: "Show more", onclick: () => next()});
  const search = make("input", {
    type: "search",
    value: asked.text,
    placeholder: "a word, or a concept's number",
    autocomplete: "off",
    maxlength: 200,
  });
  let offset = 0,
    waiting,
    m = app.m,
    signal = app.signal;
  const last = latest();

  async function next() {
    const answer = await last(get("/api/concepts", {...asked, m, offset, limit: PAGE}, signal));
    app.about.version = answer.version;
    if (!offset) list.replaceChildren();
    list.append(...answer.items.map(row => card(row)));
    offset += answer.items.length;
    found.textContent =
      answer.total === here.n_concepts
        ? plural(answer.total, "concept")
        : `${count(answer.total)} of ${plural(here.n_concepts, "concept")}`;
    more.hidden = offset >= answer.total;
  }

  function again() {
    offset = 0;
    remember("concepts", "", {...asked, sort: asked.sort === "frequency" ? "" : asked.sort});
    return next();
  }

  async function byMeaning() {
    const text = search.value.trim();
    if (!text) return search.focus();
    clearTimeout(waiting);
    found.textContent = `Looking for what is nearest to “${text}” …`;
    const {items} = await last(call("search", text, m, PAGE));
    list.replaceChildren(...items.map(row => card(row, {score: row.similarity})));
    more.hidden = true;
    found.textContent = `The ${items.length} concepts nearest in meaning to “${text}”`;
  }

  const change = name => value => {
    asked[name] = value;
    again();
  };
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      asked.text = search.value.trim();
      again();
    }, 160);
  });
  search.addEventListener("keydown", event => {
    if (event.key === "Enter" && app.about.text) byMeaning();
  });
  const levels = here.levels.map(level => [level.level, `${level.level} (${plural(level.concepts, "concept")})`]);
  put(
    place,
    make("h1", {text: "What this model has concepts for"}),
    make("p", {class: "lead", text: here.description}),
    make(
      "div",
      {class: "tools"},
      labelled("Name", search, true),
      app.about.text
        ? make("button", {class: "plain", type: "button", text: "Search by meaning", onclick: byMeaning})
        : null,
      labelled("Level (0 is coarsest)", select([["", "all"], ...levels], asked.level, change("level"))),
      labelled(
        "Name is sure",
        select(
          [
            ["", "any"],
            [0.5, "50 % and more"],
            [0.7, "70 % and more"],
            [0.9, "90 % and more"],
          ],
          asked.confidence,
          change("confidence"),
        ),
      ),
      labelled(
        "On patches",
        select(
          [
            ["", "any"],
            [0.0001, "0.01 % and more"],
            [0.001, "0.1 % and more"],
            [0.01, "1 % and more"],
          ],
          asked.frequency,
          change("frequency"),
        ),
      ),
      labelled(
        "Order",
        select(
          [
            ["frequency", "most frequent"],
            ["confidence", "surest name"],
            ["name", "by name"],
            ["level", "coarse to fine"],
          ],
          asked.sort,
          change("sort"),
        ),
      ),
    ),
    here.images.available ? null : make("p", {class: "hint", text: here.images.what}),
    found,
    list,
    make("p", {}, more),
  );
  more.hidden = true;
  await next();
  new IntersectionObserver(
    entries => {
      if (entries[0].isIntersecting && !more.hidden && offset) next();
    },
    {rootMargin: "500px"},
  ).observe(more);
}
