/* What the photo is, as a sum over concepts, and what it would be without some of them. */
import {call} from "./api.js";
import {make, percent, say} from "./dom.js";
import {judgeForm, sumOf, termLines} from "./judge.js";

export function classifyPanel(photo, {hover}) {
  const result = make("div"),
    removed = new Set();
  const ask = async () => {
    say("Asking …");
    try {
      draw(await call("classify", photo, ...form.asked(), [...removed]));
      say("");
    } catch (error) {
      say(error.message, true);
    }
  };
  const anew = () => {
    removed.clear();
    return ask();
  };
  const form = judgeForm("classifier", "Classify", anew);

  function draw(answer) {
    const after = answer.without;
    const of = (classes, name) => classes.find(other => other.name === name)?.probability ?? 0;
    result.replaceChildren(
      make(
        "table",
        {class: "classes"},
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            ["class", "probability", after ? "without" : null]
              .filter(Boolean)
              .map(name => make("th", {scope: "col", text: name})),
          ),
        ),
        make(
          "tbody",
          {},
          answer.classes
            .slice(0, 8)
            .map(found =>
              make(
                "tr",
                {},
                make("td", {}, found.name === answer.target ? make("b", {text: found.name}) : found.name),
                make("td", {class: "number", text: percent(found.probability, 1)}),
                after
                  ? make(
                      "td",
                      {class: "number"},
                      after.target === found.name
                        ? make("b", {text: percent(of(after.classes, found.name), 1)})
                        : percent(of(after.classes, found.name), 1),
                    )
                  : null,
              ),
            ),
        ),
      ),
      make("p", {
        class: "lead",
        role: "status",
        text: after
          ? after.target === answer.target
            ? `Without what was removed it is still “${answer.target}”.`
            : `Without what was removed it would be “${after.target}”, not “${answer.target}”.`
          : "",
      }),
      make("h3", {text: `Why “${answer.target}”`}),
      make("p", {
        class: "hint",
        text: `Its logit ${sumOf(answer)}. Solid speaks for it, hatched against.`,
      }),
      ...termLines(answer.contributions, 14, term => {
        const box = make("input", {
          type: "checkbox",
          checked: removed.has(term.id),
          "aria-label": `Remove ${term.guessed}`,
          onchange: () => {
            box.checked ? removed.add(term.id) : removed.delete(term.id);
            ask();
          },
        });
        const attributes = {
          "data-term": term.id,
          onmouseenter: () => hover(term.id),
          onmouseleave: () => hover(null),
        };
        return {name: term.guessed, attributes, more: make("label", {class: "meta"}, box, " remove")};
      }),
      removed.size ? make("button", {class: "plain", type: "button", text: "Put all back", onclick: anew}) : "",
    );
  }
  return make("div", {}, form.node, result);
}
