/* A photo: its concepts and where they stand, what it is and why, what each region is and why. */
import {call, latest, loadPhoto} from "./api.js";
import {Codes} from "./codes.js";
import {few, labelled, make, percent, put, select, swatch} from "./dom.js";
import {dropPlace} from "./drop.js";
import {address, app, model} from "./main.js";
import {classifyPanel} from "./classify.js";
import {segmentPanel} from "./segment.js";
import {also, nameOf, title} from "./rows.js";
import {COLOURS, Stage, pointing} from "./stage.js";

const SHOWN = 24;
let last = null;

export async function showPhoto(place) {
  const result = make("div"),
    m = app.m,
    newest = latest();
  const chosen = async photo => {
    const [answer, image] = await newest(Promise.all([call("explain", photo, m), loadPhoto(photo)]));
    last = photo;
    result.replaceChildren(view(photo, new Codes(answer), image, m));
  };
  put(
    place,
    make("h1", {text: "What the model sees in a photo"}),
    make("p", {
      class: "lead",
      text: "Point at a place to see which concepts stand there, press a concept to keep its map. Photos stay on this machine.",
    }),
    dropPlace("Photo", chosen),
    result,
  );
  const asked = app.argument || last;
  if (asked) await chosen(asked);
}

function view(photo, codes, image, m) {
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": "The photo. Arrow keys move over its patches.",
  });
  const stage = new Stage(canvas, image),
    legend = make("div", {class: "legend", role: "status"});
  const state = {
    kept: null,
    mode: "photo",
    level: Math.max(...codes.ranked.map(concept => concept.level), 0),
    painted: null,
    onpoint: null,
    onpick: null,
  };

  /* What is on the canvas when nothing is pointed at; a panel may paint over it (state.painted). */
  function rest() {
    if (state.painted) state.painted(stage);
    else if (state.kept !== null) stage.light(codes.map(state.kept), codes.grid);
    else if (state.mode === "regions") paintRegions();
    else stage.plain();
  }
  function paintRegions() {
    const winners = codes.strongest(state.level),
      share = new Map();
    for (const id of winners) if (id >= 0) share.set(id, (share.get(id) ?? 0) + 1);
    const largest = [...share].sort((a, b) => b[1] - a[1]).slice(0, COLOURS.length),
      colours = new Map(largest.map(([id], i) => [id, COLOURS[i]]));
    stage.regions(winners, codes.grid, colours);
    legend.replaceChildren(
      ...largest.map(([id, number]) =>
        make(
          "span",
          {class: "chip"},
          swatch(colours.get(id)),
          `${title(codes.table[id])} ${few(number / codes.patches)}`,
        ),
      ),
    );
  }
  const idle = () => {
    if (state.mode === "regions" && state.kept === null && !state.painted) return;
    if (state.kept === null)
      legend.textContent = `All its concepts leave ${percent(codes.fvu)} of this photo's features unexplained.`;
    else
      legend.replaceChildren(
        make("b", {text: title(codes.table[state.kept])}),
        " · ",
        make("a", {href: address("concept", state.kept), text: "where else it stands, and what it belongs to"}),
      );
  };
  const back = () => {
    rest();
    idle();
    mark(null);
  };
  const mark = ids =>
    panels.concepts
      .querySelectorAll("[data-concept]")
      .forEach(item => item.classList.toggle("away", ids !== null && !ids.has(Number(item.dataset.concept))));

  pointing(
    canvas,
    codes.grid,
    patch => {
      if (patch === null) return back();
      rest();
      stage.frame(patch, codes.grid);
      if (state.onpoint?.(patch, legend)) return;
      const here = codes.at(patch);
      mark(new Set(here.map(concept => concept.id)));
      legend.replaceChildren(
        ...(here.length
          ? here
              .slice(0, 8)
              .flatMap((concept, i) => [
                i ? ", " : "",
                make("b", {text: title(concept)}),
                ` ${concept.activation.toFixed(2)}`,
              ])
          : ["No concept stands on this patch."]),
      );
    },
    patch => {
      if (state.onpick?.(patch)) return;
      const strongest = codes.at(patch)[0];
      if (strongest) keep(strongest.id);
    },
  );

  /* Keeps the map of a concept; of the one that is kept, or null, none. */
  function keep(id) {
    state.kept = state.kept === id ? null : id;
    state.painted = null;
    panels.concepts
      .querySelectorAll("[data-concept]")
      .forEach(item => item.setAttribute("aria-pressed", Number(item.dataset.concept) === state.kept));
    back();
  }
  const hover = id => {
    if (id === null) return back();
    state.painted = null;
    stage.light(codes.map(id), codes.grid);
    legend.textContent = title(codes.table[id]);
  };

  const panels = {
    concepts: conceptList(codes, image, {keep, hover}),
    classify: classifyPanel(photo, {hover: id => (id !== null && codes.peaks.has(id) ? hover(id) : back())}),
    segment: segmentPanel(photo, {
      paint: painter => {
        state.kept = null;
        state.painted = painter;
        rest();
      },
      point: handler => {
        state.onpick = handler;
      },
      grid: codes.grid,
    }),
  };
  const modes = make(
    "div",
    {class: "tools"},
    labelled(
      "Shown",
      select(
        [
          ["photo", "the photo"],
          ["regions", "its strongest concepts as regions"],
        ],
        "photo",
        value => {
          state.mode = value;
          keep(state.kept);
        },
      ),
    ),
    labelled(
      "Regions by",
      select(
        model(m).levels.map(({level}) => [level, level ? `levels 0 to ${level}` : "level 0, the coarsest"]),
        state.level,
        value => {
          state.level = Number(value);
          rest();
          idle();
        },
      ),
    ),
  );
  queueMicrotask(back);
  return make(
    "div",
    {class: "view"},
    make("div", {class: "stage"}, canvas, legend, modes),
    make(
      "div",
      {},
      tabbed(
        [
          ["Concepts", panels.concepts],
          ["Classify", panels.classify],
          ["Segment", panels.segment],
        ],
        name => {
          state.painted = null;
          state.onpick = null;
          if (name === "Segment") panels.segment.dispatchEvent(new Event("again"));
          else back();
        },
      ),
    ),
  );
}

/* A list of concepts with their maps in small; `hover(id or null)` and `keep(id)` are told what is pointed at and pressed. */
function conceptList(codes, image, {keep, hover}) {
  const strongest = codes.ranked[0]?.activation ?? 1,
    list = make("div", {class: "list"});
  let shown = 0;
  const more = make("button", {class: "plain", type: "button", onclick: () => fill(shown + SHOWN)});
  function fill(upTo) {
    for (const concept of codes.ranked.slice(shown, upTo)) {
      const small = make("canvas", {"aria-hidden": "true"}),
        fill = make("i");
      new Stage(small, image, 112).light(codes.map(concept.id), codes.grid);
      fill.style.width = (100 * concept.activation) / strongest + "%";
      const parents = concept.parents
        .slice(0, 3)
        .map(
          id => `${{"part-of": "part of", "kind-of": "kind of"}[concept.kinds[id]] ?? "in"} ${codes.names[id] ?? id}`,
        )
        .join(", ");
      list.append(
        make(
          "button",
          {
            class: "item",
            type: "button",
            "aria-pressed": false,
            "data-concept": concept.id,
            onclick: () => keep(concept.id),
            onmouseenter: () => hover(concept.id),
            onmouseleave: () => hover(null),
          },
          small,
          make(
            "span",
            {},
            make("span", {class: "name"}, nameOf(concept)),
            make("span", {
              class: "meta",
              text: [`#${concept.id}`, concept.how_sure, parents].filter(Boolean).join(" · ") || also(concept),
            }),
          ),
          make(
            "span",
            {},
            make("span", {class: "meter", "aria-hidden": "true"}, fill),
            make("span", {class: "value", text: `${concept.activation.toFixed(2)} · L${concept.level}`}),
          ),
        ),
      );
    }
    shown = Math.min(upTo, codes.ranked.length);
    more.textContent = `Show more (${codes.ranked.length - shown} left)`;
    more.hidden = shown >= codes.ranked.length;
  }
  fill(SHOWN);
  const open = make("p", {
    class: "hint",
    text: "A name says what a concept is nearest to in words, not what it surely is.",
  });
  return make("div", {}, list, make("p", {}, more), open);
}

/* Tabs as the ARIA practices describe them: arrows move, one panel shows. */
export function tabbed(parts, changed) {
  const buttons = parts.map(([name], i) =>
    make("button", {
      role: "tab",
      type: "button",
      id: `tab-${name}`,
      "aria-selected": !i,
      "aria-controls": `panel-${name}`,
      tabindex: i ? -1 : 0,
      text: name,
      onclick: () => pick(i),
    }),
  );
  const panels = parts.map(([name, panel], i) =>
    make("div", {role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: i > 0}, panel),
  );
  function pick(i) {
    buttons.forEach((button, j) => {
      button.setAttribute("aria-selected", i === j);
      button.tabIndex = i === j ? 0 : -1;
      panels[j].hidden = i !== j;
    });
    buttons[i].focus();
    changed(parts[i][0]);
  }
  const list = make(
    "div",
    {
      class: "tabs",
      role: "tablist",
      "aria-label": "What to ask of the photo",
      onkeydown: event => {
        const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (step) pick((buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length);
      },
    },
    buttons,
  );
  return make("div", {}, list, panels);
}
