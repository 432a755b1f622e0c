/* Two photos by one model, or one photo by two models: what they share and what only one has. */
import {call, get, latest, loadPhoto} from "./api.js";
import {Codes} from "./codes.js";
import {make, meter, percent, put} from "./dom.js";
import {dropPlace} from "./drop.js";
import {address, app, model} from "./main.js";
import {nameOf, title} from "./rows.js";
import {Stage, pointing} from "./stage.js";

const SHOWN = 14;

export async function showCompare(place) {
  const two = app.about.models.length > 1,
    body = make("div");
  const modes = two
    ? make(
        "div",
        {class: "row-of", role: "group", "aria-label": "What to compare"},
        [
          ["photos", "Two photos"],
          ["models", "Two models"],
        ].map(([mode, text], i) =>
          make("button", {
            type: "button",
            "aria-selected": null,
            "aria-pressed": !i,
            class: "chip",
            text,
            onclick: event => {
              for (const other of event.currentTarget.parentNode.children)
                other.setAttribute("aria-pressed", other === event.currentTarget);
              mode === "photos" ? photos(body) : models(body);
            },
          }),
        ),
      )
    : null;
  put(place, make("h1", {text: "What two have in common"}), modes ?? "", body);
  photos(body);
}

/* A side of the comparison: takes photos, and shows the last on a canvas, explained by a model. */
function side(m, place, told) {
  const newest = latest();
  return async photo => {
    const [answer, image] = await newest(Promise.all([call("explain", photo, m), loadPhoto(photo)]));
    told(draw(place, new Codes(answer), image));
  };
}

function draw(place, codes, image) {
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": "A photo. Arrow keys move over its patches.",
  });
  const stage = new Stage(canvas, image),
    legend = make("div", {class: "legend", role: "status"});
  place.replaceChildren(make("div", {class: "stage"}, canvas, legend));
  pointing(canvas, codes.grid, patch => {
    stage.plain();
    legend.textContent = "";
    if (patch === null) return;
    stage.frame(patch, codes.grid);
    legend.textContent =
      codes
        .at(patch)
        .slice(0, 5)
        .map(concept => `${title(concept)} ${concept.activation.toFixed(2)}`)
        .join(", ") || "No concept stands here.";
  });
  return {
    codes,
    show: id => {
      id !== null && codes.peaks.has(id) ? stage.light(codes.map(id), codes.grid) : stage.plain();
      legend.textContent = id === null ? "" : codes.peaks.has(id) ? title(codes.table[id]) : "not here";
    },
  };
}

function photos(body) {
  const sides = [null, null],
    lists = make("div", {class: "columns"}),
    places = [make("div"), make("div")];
  const chosen = i =>
    side(app.m, places[i], found => {
      sides[i] = found;
      if (sides[0] && sides[1]) lists.replaceChildren(...columns(sides));
    });
  body.replaceChildren(
    make("p", {class: "lead", text: "Choose two photos. Concepts are compared by the place where each is strongest."}),
    make(
      "div",
      {class: "pair"},
      places.map((place, i) => make("div", {}, dropPlace(`Photo ${"AB"[i]}`, chosen(i)), place)),
    ),
    lists,
  );
}

function columns([a, b]) {
  const peak = (side, id) => side.codes.peaks.get(id) ?? 0,
    show = id => {
      a.show(id);
      b.show(id);
    };
  const ids = new Set([...a.codes.peaks.keys(), ...b.codes.peaks.keys()]),
    row = id => a.codes.table[id] ?? b.codes.table[id];
  const most = Math.max(a.codes.ranked[0]?.activation ?? 0, b.codes.ranked[0]?.activation ?? 0, 1e-9);
  const both = [...ids]
    .filter(id => peak(a, id) && peak(b, id))
    .sort((x, y) => Math.min(peak(a, y), peak(b, y)) - Math.min(peak(a, x), peak(b, x)));
  const only = (one, other) =>
    [...ids].filter(id => peak(one, id) && !peak(other, id)).sort((x, y) => peak(one, y) - peak(one, x));
  const column = (heading, chosen) =>
    make(
      "div",
      {},
      make("h2", {text: `${heading} (${chosen.length})`}),
      make(
        "div",
        {class: "list"},
        chosen.slice(0, SHOWN).map(id =>
          make(
            "button",
            {
              class: "item bare",
              type: "button",
              "data-concept": id,
              onmouseenter: () => show(id),
              onmouseleave: () => show(null),
              onfocus: () => show(id),
              onblur: () => show(null),
            },
            make("span", {class: "name"}, nameOf(row(id))),
            make(
              "span",
              {},
              meter(peak(a, id) / most),
              make("span", {class: "value", text: `A ${peak(a, id).toFixed(2)} · B ${peak(b, id).toFixed(2)}`}),
              meter(peak(b, id) / most),
            ),
          ),
        ),
      ),
    );
  return [column("In both", both), column("Only in A", only(a, b)), column("Only in B", only(b, a))];
}

async function models(body) {
  const places = [make("div"), make("div")],
    lists = [make("div", {class: "list"}), make("div", {class: "list"})],
    matches = make("div");
  const sides = [0, 1].map(m =>
    side(m, places[m], found =>
      lists[m].replaceChildren(
        ...found.codes.ranked.slice(0, SHOWN).map(concept =>
          make(
            "button",
            {
              class: "item bare",
              type: "button",
              onmouseenter: () => found.show(concept.id),
              onmouseleave: () => found.show(null),
              onfocus: () => found.show(concept.id),
              onblur: () => found.show(null),
            },
            make("span", {class: "name"}, nameOf(concept)),
            make("span", {class: "value", text: `${concept.activation.toFixed(2)} · L${concept.level}`}),
          ),
        ),
      ),
    ),
  );
  const chosen = photo => Promise.all(sides.map(show => show(photo)));
  body.replaceChildren(
    make("p", {
      class: "lead",
      text: "One photo, read by both models; below, which concepts of one are which of the other.",
    }),
    dropPlace("Photo", chosen),
    make(
      "div",
      {class: "pair"},
      [0, 1].map(m => make("div", {}, make("h2", {text: model(m).name}), places[m], lists[m])),
    ),
    matches,
  );
  const found = await get("/api/matches", {limit: 30}, app.signal);
  const link = (row, m) => make("a", {href: address("concept", row.id, m ? {m} : {m: 0}), text: title(row)});
  matches.replaceChildren(
    make("h2", {text: "Concepts by direction"}),
    ...(found.comparable
      ? [
          make("p", {
            class: "hint",
            text: `${percent(found.share)} of the living concepts of ${model(0).name} have one in ${model(1).name} with a cosine of 0.7 or more. The pairs nearest to each other:`,
          }),
          make(
            "table",
            {},
            make(
              "thead",
              {},
              make(
                "tr",
                {},
                [model(0).name, model(1).name, "cosine"].map(name => make("th", {scope: "col", text: name})),
              ),
            ),
            make(
              "tbody",
              {},
              found.pairs.map(pair =>
                make(
                  "tr",
                  {},
                  make("td", {}, link(pair.a, 0)),
                  make("td", {}, link(pair.b, 1)),
                  make("td", {class: "number", text: pair.cosine.toFixed(3)}),
                ),
              ),
            ),
          ),
        ]
      : [make("p", {class: "hint", text: found.why})]),
  );
}
