/* A concept and its neighbours: parents above, children below, what is found beside it at the foot; a click walks on. */
import {get, latest} from "./api.js";
import {labelled, make, plural, put, svg} from "./dom.js";
import {address, app} from "./main.js";
import {crop, kindOf, title} from "./rows.js";

const TIERS = [
  ["grandparent", "what those belong to"],
  ["parent", "belongs to"],
  ["self", ""],
  ["child", "belongs to it"],
  ["context", "found beside it"],
  ["synonym", "says the same"],
];
const TIES = {
  "part-of": "is part of",
  "kind-of": "is a kind of",
  with: "stands in",
  context: "is found beside",
  synonym: "says the same as",
};
const walked = [];

export async function showGraph(place) {
  const m = app.m,
    signal = app.signal;
  put(place, make("h1", {text: "How concepts belong together"}));
  const start = app.argument === "" ? await beginning(m, signal) : app.argument;
  const graph = await get(`/api/graph/${encodeURIComponent(start)}`, {m, limit: 24}, signal);
  const self = graph.nodes.find(node => node.role === "self"),
    byId = new Map(graph.nodes.map(node => [node.id, node]));
  document.title = `${title(self)} · graph · Insight`;
  if (walked.at(-1)?.id !== self.id || walked.at(-1)?.m !== m) walked.push({id: self.id, name: title(self), m});
  if (walked.length > 8) walked.shift();

  const drawing = svg("svg", {"aria-hidden": "true"}),
    nodes = new Map(),
    said = make("p", {class: "hint", role: "status"});
  const idle = "Point at a concept to see what ties it to the one in the middle; press it to walk there.";
  said.textContent = idle;
  const chart = make(
    "div",
    {class: "graph"},
    drawing,
    TIERS.map(([role, words]) => {
      const members = graph.nodes.filter(node => node.role === role);
      if (!members.length) return null;
      return make(
        "div",
        {class: "tier"},
        words ? make("p", {class: "tier-name", text: words}) : null,
        members.map(node => {
          const link = make(
            "a",
            {
              class: `node ${role}`,
              href: address(role === "self" ? "concept" : "graph", node.id),
              "data-concept": node.id,
              "aria-label":
                role === "self" ? `${title(node)}, the concept in the middle: open it` : `${title(node)}, ${words}`,
              onmouseenter: () => light(node.id),
              onmouseleave: () => light(null),
              onfocus: () => light(node.id),
              onblur: () => light(null),
            },
            node.examples ? crop(node, 0, m) : null,
            make("b", {text: title(node)}),
          );
          nodes.set(node.id, link);
          return link;
        }),
      );
    }),
  );

  const lines = graph.edges
    .filter(edge => nodes.has(edge.child) && nodes.has(edge.parent))
    .map(edge => {
      const line = svg("path", {class: `edge ${kindOf(edge)}`});
      drawing.append(line);
      return [edge, line];
    });
  function draw() {
    const origin = chart.getBoundingClientRect();
    for (const [edge, line] of lines) {
      const low = nodes.get(edge.child).getBoundingClientRect(),
        high = nodes.get(edge.parent).getBoundingClientRect();
      const down = low.top >= high.bottom - 1;
      const [x1, y1] = [high.left + high.width / 2 - origin.left, (down ? high.bottom : high.top) - origin.top];
      const [x2, y2] = [low.left + low.width / 2 - origin.left, (down ? low.top : low.bottom) - origin.top],
        middle = (y1 + y2) / 2;
      line.setAttribute("d", `M${x1} ${y1} C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`);
    }
  }
  function light(id) {
    const told = [];
    for (const [edge, line] of lines) {
      const lit = id !== null && (edge.child === id || edge.parent === id);
      line.classList.toggle("lit", lit);
      if (lit)
        told.push(
          `${title(byId.get(edge.child))} ${TIES[kindOf(edge)]} ${title(byId.get(edge.parent))}${edge.evidence ? ` (${edge.evidence})` : ""}`,
        );
    }
    said.textContent = told.length
      ? told.slice(0, 3).join("; ") + (told.length > 3 ? `; and ${told.length - 3} more` : "")
      : idle;
  }

  const hidden = Object.entries(graph.more)
    .filter(([, number]) => number > 0)
    .map(([what, number]) =>
      plural(
        number,
        {parents: "parent", children: "child", context: "neighbour"}[what],
        {parents: "parents", children: "children", context: "neighbours"}[what],
      ),
    );
  put(
    place,
    finder(m),
    make(
      "p",
      {class: "trail"},
      "Walked: ",
      walked
        .filter(step => step.m === m)
        .flatMap((step, i, steps) => [
          i ? " → " : "",
          i === steps.length - 1
            ? make("b", {text: step.name})
            : make("a", {href: address("graph", step.id), text: step.name}),
        ]),
    ),
    make(
      "p",
      {class: "hint"},
      make("span", {class: "key kind-of"}),
      "kind of  ",
      make("span", {class: "key part-of"}),
      "part of  ",
      make("span", {class: "key with"}),
      "stands in, not known how",
    ),
    chart,
    said,
    hidden.length ? make("p", {class: "hint", text: `Not drawn: ${hidden.join(", ")}.`}) : null,
  );
  if (graph.nodes.length === 1)
    said.textContent = "Nothing belongs to it, and it belongs to nothing that beats chance.";
  draw();
  new ResizeObserver(draw).observe(chart);
}

/* Of the most frequent concepts one with parents and children, as many as there are: something to walk from. */
async function beginning(m, signal) {
  const {items} = await get("/api/concepts", {m, limit: 200}, signal);
  const ties = row => row.children + (row.parents && row.children ? 1000 : 0);
  return items.reduce((best, row) => (ties(row) > ties(best) ? row : best), items[0]).id;
}

function finder(m) {
  const found = make("span", {class: "row-of"}),
    input = make("input", {
      type: "search",
      placeholder: "walk from another concept",
      maxlength: 200,
      autocomplete: "off",
    });
  const last = latest();
  let waiting;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const text = input.value.trim(),
        {items} = await last(text ? get("/api/concepts", {m, text, limit: 8}) : Promise.resolve({items: []}));
      found.replaceChildren(
        ...items.map(row => make("a", {class: "chip", href: address("graph", row.id), text: title(row)})),
      );
    }, 160);
  });
  return make("div", {class: "tools"}, labelled("Find", input), found);
}
