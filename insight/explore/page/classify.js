/* What the photo is, as a sum over concepts, and what it would be without some of them. */
import {call} from "./api.js";
import {labelled, make, percent, say, select} from "./dom.js";
import {app} from "./main.js";

let lastClasses = "bird, dog, car, building, person";

export function classifyPanel(photo, {hover}) {
  const heads = app.about.heads.filter(head => head.kind === "classifier"),
    result = make("div"),
    removed = new Set();
  const words = make("input", {type: "text", value: lastClasses, maxlength: 2000, autocomplete: "off"});
  let head = heads.length ? heads[0].id : -1;
  const text = labelled("Classes, between commas; “car|bus” is one class of two words", words, true);
  text.hidden = head !== -1;
  const ask = async () => {
    lastClasses = words.value;
    say("Asking …");
    try {
      draw(await call("classify", photo, head === -1 ? words.value : "", head, [...removed]));
      say("");
    } catch (error) {
      say(error.message, true);
    }
  };
  const anew = () => {
    removed.clear();
    return ask();
  };
  words.addEventListener("keydown", event => {
    if (event.key === "Enter") anew();
  });

  function draw(answer) {
    const after = answer.without,
      most = Math.max(...answer.contributions.map(term => Math.abs(term.contribution)), 1e-9);
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
        text: `Its logit ${answer.logit.toFixed(3)} = ${answer.constant.toFixed(3)} that no concept answers for + the concepts' shares; ${answer.others.toFixed(3)} is of those not listed. Solid speaks for it, hatched against.`,
      }),
      make(
        "div",
        {},
        answer.contributions.slice(0, 14).map(term => {
          const bar = make("i", {class: term.contribution < 0 ? "against" : null}),
            half = (50 * Math.abs(term.contribution)) / most;
          bar.style.left = (term.contribution < 0 ? 50 - half : 50) + "%";
          bar.style.width = half + "%";
          const box = make("input", {
            type: "checkbox",
            checked: removed.has(term.id),
            "aria-label": `Remove ${term.guessed}`,
            onchange: () => {
              box.checked ? removed.add(term.id) : removed.delete(term.id);
              ask();
            },
          });
          return make(
            "div",
            {
              class: "contribution",
              "data-term": term.id,
              onmouseenter: () => hover(term.id),
              onmouseleave: () => hover(null),
            },
            make("span", {text: term.guessed}),
            make("span", {class: "sum", "aria-hidden": "true"}, bar),
            make("span", {class: "value", text: (term.contribution >= 0 ? "+" : "") + term.contribution.toFixed(3)}),
            make("label", {class: "meta"}, box, " remove"),
          );
        }),
      ),
      removed.size ? make("button", {class: "plain", type: "button", text: "Put all back", onclick: anew}) : "",
    );
  }
  return make(
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
              anew();
            }),
          )
        : null,
      text,
      make("button", {class: "go", type: "button", text: "Classify", onclick: anew}),
    ),
    result,
  );
}
