/* What classifying and segmenting share: who judges, a head or words, and the terms of a sum as bars. */
import {labelled, make, select} from "./dom.js";
import {app} from "./main.js";

const WORDS = -1;
const typed = {
  classifier: "bird, dog, car, building, person",
  segmenter: "bird, grass, water, sky, tree, building, road",
};

/* Heads of a kind to choose from, or classes to type; `ask()` when it is pressed. `asked()`: what the server wants of it. */
export function judgeForm(kind, verb, ask) {
  const heads = app.about.heads.filter(head => head.kind === kind);
  const words = make("input", {type: "text", value: typed[kind], maxlength: 2000, autocomplete: "off"});
  const text = labelled("Classes, between commas; “car|bus” is one class of two words", words, true);
  let head = heads.length ? heads[0].id : WORDS;
  text.hidden = head !== WORDS;
  words.addEventListener("input", () => {
    typed[kind] = words.value;
  });
  words.addEventListener("keydown", event => {
    if (event.key === "Enter") ask();
  });
  const choice = select(
    [...heads.map(known => [known.id, `the head ${known.name}`]), [WORDS, "words"]],
    head,
    value => {
      head = Number(value);
      text.hidden = head !== WORDS;
      ask();
    },
  );
  const node = make(
    "div",
    {class: "tools"},
    heads.length ? labelled("Judged by", choice) : null,
    text,
    make("button", {class: "go", type: "button", text: verb, onclick: ask}),
  );
  return {node, asked: () => [head === WORDS ? words.value : "", head]};
}

/* What makes up a logit, in words. */
export const sumOf = answer =>
  `${answer.logit.toFixed(3)} = ${answer.constant.toFixed(3)} that no concept answers for + the concepts' shares; ${answer.others.toFixed(3)} is of those not listed`;

/* The first terms of a sum, a line each: a bar to the right for the class, hatched to the left against it. */
export function termLines(terms, shown, line) {
  const most = Math.max(...terms.map(term => Math.abs(term.contribution)), 1e-9);
  return terms.slice(0, shown).map(term => {
    const against = term.contribution < 0,
      half = (50 * Math.abs(term.contribution)) / most,
      bar = make("i", {class: against ? "against" : null});
    bar.style.left = (against ? 50 - half : 50) + "%";
    bar.style.width = half + "%";
    const {name, attributes = {}, more = null} = line(term);
    return make(
      "div",
      {class: "contribution", ...attributes},
      make("span", {text: name}),
      make("span", {class: "sum", "aria-hidden": "true"}, bar),
      make("span", {class: "value", text: (against ? "" : "+") + term.contribution.toFixed(3)}),
      more,
    );
  });
}
