/* What each place of the photo is, and why: press a place for the concepts that decided. */
import {call} from "./api.js";
import {few, make, say, swatch} from "./dom.js";
import {judgeForm, sumOf, termLines} from "./judge.js";
import {COLOURS, unroll} from "./stage.js";

export function segmentPanel(photo, {paint, point, grid}) {
  const result = make("div"),
    why = make("div", {role: "status"});
  let found = null,
    colours = null;
  async function ask() {
    say("Asking …");
    try {
      const asked = form.asked(),
        answer = await call("segment", photo, ...asked);
      found = {...answer, asked, labels: unroll(answer.runs, answer.size[0] * answer.size[1])};
      colours = new Map(answer.classes.map((_, i) => [i, COLOURS[i % COLOURS.length]]));
      say("");
      draw();
    } catch (error) {
      say(error.message, true);
    }
  }
  const form = judgeForm("segmenter", "Segment", ask);

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
      const at = await call("segment_at", photo, ...found.asked, row, column);
      why.replaceChildren(
        make("h3", {text: `Why “${at.name}” at row ${row}, column ${column}`}),
        make("p", {class: "hint", text: `Logit ${sumOf(at)}${found.exact ? "" : "; shares are those of the patch"}.`}),
        ...termLines(at.concepts, 10, term => ({name: term.title})),
      );
    } catch (error) {
      say(error.message, true);
    }
  }
  const panel = make("div", {}, form.node, result, why);
  panel.addEventListener("again", () => found && draw());
  return panel;
}
