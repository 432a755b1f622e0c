/* What each place of the photo is, and why: press a place for the concepts that decided. */
import {call} from "./api.js";
import {few, labelled, make, percent, say, select, swatch} from "./dom.js";
import {app} from "./main.js";
import {COLOURS, unroll} from "./stage.js";

let lastClasses = "bird, grass, water, sky, tree, building, road";

export function segmentPanel(photo, {paint, point, grid}) {
  const heads = app.about.heads.filter(head => head.kind === "segmenter"),
    result = make("div"),
    why = make("div", {role: "status"});
  const words = make("input", {type: "text", value: lastClasses, maxlength: 2000, autocomplete: "off"});
  let head = heads.length ? heads[0].id : -1,
    found = null,
    colours = null;
  const text = labelled("Classes, between commas; “car|bus” is one class of two words", words, true);
  text.hidden = head !== -1;
  const classes = () => (head === -1 ? words.value : "");
  async function ask() {
    lastClasses = words.value;
    say("Asking …");
    try {
      const answer = await call("segment", photo, classes(), head);
      found = {...answer, labels: unroll(answer.runs, answer.size[0] * answer.size[1])};
      colours = new Map(answer.classes.map((_, i) => [i, COLOURS[i % COLOURS.length]]));
      say("");
      draw();
    } catch (error) {
      say(error.message, true);
    }
  }
  words.addEventListener("keydown", event => {
    if (event.key === "Enter") ask();
  });

  function draw() {
    const shares = found.classes
      .map((name, i) => ({name, i, share: found.shares[i]}))
      .filter(part => part.share > 0)
      .sort((a, b) => b.share - a.share);
    result.replaceChildren(
      make(
        "p",
        {},
        shares.map(({name, i, share}) =>
          make("span", {class: "chip"}, swatch(colours.get(i)), `${name} ${few(share)}`),
        ),
      ),
      make("p", {class: "hint", text: "Press a place of the photo to see why it has its class."}),
    );
    why.replaceChildren();
    paint(stage => stage.regions(found.labels, found.size, colours));
    point(patch => {
      const [h, w] = grid,
        [H, W] = found.size;
      explain(Math.floor(((Math.floor(patch / w) + 0.5) * H) / h), Math.floor((((patch % w) + 0.5) * W) / w));
      return true;
    });
  }
  async function explain(row, column) {
    try {
      const at = await call("segment_at", photo, classes(), head, row, column);
      const most = Math.max(...at.concepts.map(term => Math.abs(term.contribution)), 1e-9);
      why.replaceChildren(
        make("h3", {text: `Why “${at.name}” at row ${row}, column ${column}`}),
        make("p", {
          class: "hint",
          text: `Logit ${at.logit.toFixed(3)} = ${at.constant.toFixed(3)} that no concept answers for + the concepts' shares; ${at.others.toFixed(3)} is of those not listed${found.exact ? "" : "; shares are those of the patch"}.`,
        }),
        ...at.concepts.slice(0, 10).map(term => {
          const bar = make("i", {class: term.contribution < 0 ? "against" : null}),
            half = (50 * Math.abs(term.contribution)) / most;
          bar.style.left = (term.contribution < 0 ? 50 - half : 50) + "%";
          bar.style.width = half + "%";
          return make(
            "div",
            {class: "contribution"},
            make("span", {text: term.title}),
            make("span", {class: "sum", "aria-hidden": "true"}, bar),
            make("span", {class: "value", text: (term.contribution >= 0 ? "+" : "") + term.contribution.toFixed(3)}),
          );
        }),
      );
    } catch (error) {
      say(error.message, true);
    }
  }
  const panel = make(
    "div",
    {},
    make(
      "div",
      {class: "tools"},
      heads.length
        ? labelled(
            "Judged by",
            select([...heads.map(known => [known.id, `the head ${known.name}`]), [-1, "words"]], head, value => {
              head = Number(value);
              text.hidden = head !== -1;
              ask();
            }),
          )
        : null,
      text,
      make("button", {class: "go", type: "button", text: "Segment", onclick: ask}),
    ),
    result,
    why,
  );
  panel.addEventListener("again", () => found && draw());
  return panel;
}
