/* A person's corrections: names, merges, hidden concepts, relations. Each can be undone. */
import {get, latest, Problem, remove} from "./api.js";
import {labelled, make, put, say, select} from "./dom.js";
import {app, model, refresh} from "./main.js";
import {change} from "./concept.js";
import {title} from "./rows.js";

const ACTIONS = {
  rename: {text: "Rename a concept", others: 0},
  merge: {text: "Show several as one", others: 1, many: true, other: "and which others (numbers, between commas)"},
  hide: {text: "Hide a concept", others: 0},
  show: {text: "Show a hidden one again", others: 0},
  relate: {text: "Say what it belongs to", others: 1, other: "belongs to (a concept's number)"},
  unrelate: {text: "Take a relation away", others: 1, other: "no longer belongs to (a concept's number)"},
};

export async function showEdit(place) {
  const here = model(),
    list = make("ul", {class: "edits"}),
    note = make("p", {class: "count"});
  async function fill() {
    const found = await get("/api/edits", {}, app.signal);
    note.textContent = found.edits.length ? `${found.edits.length} made so far` : "None made so far.";
    list.replaceChildren(
      ...found.edits.map(edit =>
        make(
          "li",
          {},
          make(
            "span",
            {},
            `${edit.number}. ${edit.sentence}`,
            make("span", {
              class: "meta",
              text: `  ${edit.date}${edit.note ? " · " + edit.note : ""}${found.not_applied[edit.number] ? " · not applied: " + found.not_applied[edit.number] : ""}`,
            }),
          ),
          found.editable
            ? make("button", {
                class: "plain",
                type: "button",
                text: "Undo",
                "aria-label": `Undo edit ${edit.number}`,
                onclick: async () => {
                  await remove(`/api/edits/${edit.number}`);
                  await refresh();
                  await fill();
                  say("Undone.");
                },
              })
            : null,
        ),
      ),
    );
  }
  put(
    place,
    make("h1", {text: "Corrections"}),
    make("p", {
      class: "lead",
      text: "What a person changes is kept in one small file beside the model (edits.json), stays through rebuilds, and is shown as edited everywhere. The first model is edited.",
    }),
  );
  if (app.about.models[0].editable) put(place, form(fill));
  else put(place, make("p", {class: "problem", text: app.about.models[0].why_not}));
  put(place, make("h2", {text: "Edits"}), note, list);
  await fill();
}

function form(done) {
  let action = "rename";
  const concept = picker("Concept (its number, or a word to find it by)", app.parameters.get("concept") ?? "");
  const name = make("input", {type: "text", maxlength: 200, autocomplete: "off"}),
    others = make("input", {type: "text", maxlength: 200, autocomplete: "off"}),
    why = make("input", {type: "text", maxlength: 500, autocomplete: "off"});
  const kind = select(
    [
      ["kind-of", "as a kind of it"],
      ["part-of", "as a part of it"],
    ],
    "kind-of",
    () => {},
  );
  const problem = make("p", {class: "problem", role: "alert", hidden: true});
  const fields = {
    name: labelled("New name", name),
    others: make("label", {}, make("span", {}), others),
    kind: labelled("How", kind),
  };
  const arrange = () => {
    fields.name.hidden = action !== "rename";
    fields.others.hidden = !ACTIONS[action].others;
    fields.others.firstChild.textContent = ACTIONS[action].other ?? "";
    fields.kind.hidden = action !== "relate";
  };
  const body = make(
    "form",
    {
      class: "edit",
      "aria-label": "A correction",
      onsubmit: async event => {
        event.preventDefault();
        problem.hidden = true;
        try {
          const ids = [concept.value(), ...(ACTIONS[action].others ? others.value.split(",").map(number) : [])];
          await change(action, ids, {
            ...(action === "rename" ? {name: name.value} : {}),
            ...(action === "relate" ? {kind: kind.value} : {}),
            ...(why.value.trim() ? {note: why.value.trim()} : {}),
          });
          name.value = others.value = why.value = "";
          await done();
        } catch (error) {
          problem.textContent = error.message;
          problem.hidden = false;
        }
      },
    },
    labelled(
      "What",
      select(
        Object.entries(ACTIONS).map(([key, {text}]) => [key, text]),
        action,
        value => {
          action = value;
          arrange();
        },
      ),
    ),
    concept.node,
    fields.name,
    fields.others,
    fields.kind,
    labelled("Why (may be left out)", why),
    make("div", {}, make("button", {class: "go", type: "submit", text: "Save"})),
    problem,
  );
  arrange();
  return body;
}

function number(text) {
  const found = Number(text.trim());
  if (!text.trim() || !Number.isInteger(found))
    throw new Problem(`expected the number of a concept, found “${text.trim()}”`);
  return found;
}

/* An input for a concept: a number, or a word whose concepts are offered. */
function picker(text, value) {
  const input = make("input", {type: "search", value, maxlength: 200, autocomplete: "off"}),
    found = make("span", {class: "row-of"});
  const last = latest();
  let waiting;
  const offer = async () => {
    const text = input.value.trim(),
      {items} = await last(text ? get("/api/concepts", {m: 0, text, limit: 6}) : Promise.resolve({items: []}));
    found.replaceChildren(
      ...items.map(row =>
        make("button", {
          class: "chip",
          type: "button",
          text: `${title(row)} · ${row.id}`,
          onclick: () => {
            input.value = row.id;
            found.replaceChildren();
          },
        }),
      ),
    );
  };
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(offer, 160);
  });
  return {node: make("div", {}, labelled(text, input), found), value: () => number(input.value)};
}
