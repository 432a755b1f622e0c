/* A concept in a line: its name and how sure it is, its crops, its relatives. */
import {exampleUrl} from "./api.js";
import {make, meter, few, plural} from "./dom.js";
import {address, app} from "./main.js";

export const title = row => (row.named ? row.name : (row.guessed ?? row.name));

/* The name as a node, grey where there is none, marked where a person changed it. */
export function nameOf(row) {
  return [
    row.named ? row.name : make("span", {class: "unnamed", text: title(row)}),
    row.edited ? make("span", {class: "edited", text: "edited", title: "A person changed this concept."}) : null,
  ];
}

export const also = row =>
  row.alternatives?.length ? (row.named ? "also: " : "perhaps: ") + row.alternatives.slice(0, 3).join(", ") : "";

export function crop(row, rank = 0, m = app.m) {
  return rank < row.examples
    ? make("img", {
        src: exampleUrl(m, row.id, rank, "crop", app.about.version),
        alt: "",
        loading: "lazy",
        width: 160,
        height: 160,
      })
    : make("span", {class: "gap", "aria-hidden": "true"});
}

export function card(row, {crops = true, score = null} = {}) {
  const sure = row.confidence === null || row.confidence === undefined ? [] : [meter(row.confidence)];
  return make(
    "li",
    {class: "card", "data-concept": row.id},
    make("h2", {}, make("a", {href: address("concept", row.id)}, nameOf(row))),
    make("div", {
      class: "meta",
      text: [
        `#${row.id}`,
        row.how_sure,
        `level ${row.level}`,
        `on ${few(row.share)} of patches`,
        score === null ? "" : `fits ${score.toFixed(2)}`,
      ]
        .filter(Boolean)
        .join(" · "),
    }),
    sure,
    row.named && also(row) ? make("div", {class: "meta", text: also(row)}) : null,
    make("div", {
      class: "meta",
      text:
        [
          row.parents ? plural(row.parents, "parent") : "",
          row.children ? plural(row.children, "child", "children") : "",
        ]
          .filter(Boolean)
          .join(", ") || "no relatives",
    }),
    crops && row.examples
      ? make(
          "div",
          {class: "crops"},
          [0, 1, 2, 3].map(rank => crop(row, rank)),
        )
      : null,
  );
}

export const kindWords = {"part-of": ["part of", "parts"], "kind-of": ["kind of", "kinds"], with: ["in", "holds"]};
export const kindOf = relative => relative.kind ?? "with";
