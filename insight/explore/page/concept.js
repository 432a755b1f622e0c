/* One concept: where it is strongest, how strongly it fires, what it belongs to, and what a person may change. */
import {exampleUrl, get, send} from "./api.js";
import {count, few, make, percent, plural, put, say, svg} from "./dom.js";
import {address, app, model, refresh} from "./main.js";
import {also, kindOf, kindWords, nameOf, title} from "./rows.js";

export async function showConcept(place) {
  const m = app.m,
    concept = await get(`/api/concepts/${encodeURIComponent(app.argument)}`, {m}, app.signal);
  document.title = `${title(concept)} · ${model().name} · Insight`;
  put(
    place,
    make("h1", {}, nameOf(concept)),
    make("p", {
      class: "lead",
      text: [concept.how_sure, also(concept)].filter(Boolean).join(" · ") || "no name is known",
    }),
    make(
      "p",
      {class: "row-of"},
      make("a", {class: "chip", href: address("graph", concept.id), text: "Walk the graph from here"}),
      make("a", {class: "chip", href: address("edit", "", {concept: concept.id}), text: "Edit"}),
    ),
    make(
      "div",
      {class: "concept-page"},
      make("div", {}, examples(concept, m), histogram(concept)),
      make("div", {}, relatives(concept), facts(concept)),
    ),
  );
}

function examples(concept, m) {
  const heading = make("h2", {text: "Where it is strongest"});
  if (!concept.examples.length)
    return [
      heading,
      make("p", {
        class: "hint",
        text: model(m).images.available ? "It is strongest in none of these photographs." : model(m).images.what,
      }),
    ];
  const shown = make("figure", {class: "shown-example", hidden: true}),
    grid = make("div", {class: "examples"});
  const show = (example, button) => {
    const off = button.getAttribute("aria-pressed") === "true";
    for (const other of grid.children) other.setAttribute("aria-pressed", other === button && !off);
    shown.hidden = off;
    if (off) return;
    shown.replaceChildren(
      make("img", {
        src: exampleUrl(m, concept.id, example.rank, "photo", app.about.version),
        alt: `Where ${title(concept)} stands in ${example.image}`,
        width: 480,
        height: 480,
      }),
      make("figcaption", {
        text: `${example.image} · activation ${example.activation.toFixed(2)} at row ${example.row}, column ${example.column}. Bright is where the concept stands.`,
      }),
    );
  };
  grid.append(
    ...concept.examples.map(example =>
      make(
        "button",
        {
          type: "button",
          "aria-pressed": false,
          "aria-label": `Show ${example.image} whole`,
          onclick: event => show(example, event.currentTarget),
        },
        make("img", {
          src: exampleUrl(m, concept.id, example.rank, "crop", app.about.version),
          alt: "",
          loading: "lazy",
          width: 160,
          height: 160,
        }),
      ),
    ),
  );
  return [
    heading,
    make("p", {
      class: "hint",
      text: "The patch in the frame fires most; press one for the whole photo with the concept's map.",
    }),
    grid,
    shown,
  ];
}

function histogram(concept) {
  const heading = make("h2", {text: "How strongly it fires"});
  const found = concept.histogram;
  if (!found)
    return concept.why_no_histogram ? [heading, make("p", {class: "hint", text: concept.why_no_histogram})] : [];
  const width = 420,
    height = 130,
    bars = found.counts.length,
    most = Math.max(1, ...found.counts),
    wide = (width - 20) / bars;
  const drawing = svg("svg", {
    class: "histogram",
    viewBox: `0 0 ${width} ${height + 22}`,
    role: "img",
    "aria-label": `Histogram of ${found.of}: from ${found.edges[0].toPrecision(2)} to ${found.edges.at(-1).toPrecision(2)}, at most ${most} in a bar.`,
  });
  drawing.append(svg("line", {x1: 10, x2: width - 10, y1: height, y2: height}));
  found.counts.forEach((number, i) => {
    const tall = number ? Math.max(2, ((height - 16) * number) / most) : 0;
    drawing.append(svg("rect", {x: 10 + i * wide + 0.5, y: height - tall, width: wide - 1, height: tall}));
  });
  for (const [i, anchor] of [
    [0, "start"],
    [bars >> 1, "middle"],
    [bars, "end"],
  ])
    drawing.append(
      svg("text", {x: 10 + i * wide, y: height + 16, "text-anchor": anchor, text: found.edges[i].toPrecision(2)}),
    );
  return [
    heading,
    drawing,
    make("p", {class: "hint", text: `${count(found.counts.reduce((a, b) => a + b, 0))} × ${found.of}.`}),
  ];
}

function relatives(concept) {
  const part = (heading, list, words) =>
    list.length
      ? [
          make("h2", {text: heading}),
          make(
            "ul",
            {class: "relatives"},
            list.map(relative =>
              make(
                "li",
                {},
                words(relative) + " ",
                make("a", {class: "chip", href: address("concept", relative.id), text: relative.name}),
                make("span", {class: "meta", text: relative.evidence ?? ""}),
              ),
            ),
          ),
        ]
      : [];
  const up = relative => kindWords[kindOf(relative)][0],
    down = relative => ({"part-of": "part", "kind-of": "kind", with: "stands in it"})[kindOf(relative)];
  const found = [
    ...part("What it belongs to", concept.parents, up),
    ...part("What belongs to it", concept.children, down),
    ...part("Found beside it", concept.context, () => "with"),
    ...part("Says the same", concept.synonyms, () => "like"),
  ];
  return found.length
    ? found
    : [make("h2", {text: "Relatives"}), make("p", {class: "hint", text: "None that beat chance."})];
}

function facts(concept) {
  const line = (name, value) =>
    value === null || value === undefined
      ? null
      : make("tr", {}, make("th", {scope: "row", text: name}), make("td", {text: value}));
  return [
    make("h2", {text: "Facts"}),
    make(
      "table",
      {},
      make(
        "tbody",
        {},
        line("number", String(concept.id)),
        line("level", `${concept.level} of ${model().levels.length - 1} (0 is coarsest)`),
        line("on patches", `${plural(concept.frequency, "patch", "patches")}, ${few(concept.share)}`),
        line("name fits", concept.score?.toFixed(3)),
        line("name is sure", concept.confidence === null ? null : percent(concept.confidence)),
        line("name is stable", concept.stability === null ? null : percent(concept.stability)),
        line("fires above", concept.threshold?.toFixed(3)),
      ),
    ),
  ];
}

export async function change(action, concepts, values = {}) {
  const answer = await send("/api/edits", {action, concepts, ...values});
  await refresh();
  say("Saved as an edit; it can be undone on the Edit page.");
  return answer;
}
