/* Which view the address asks for: #/VIEW/ARGUMENT?PARAMETERS. A view is a function (place, app) that fills the place. */
import {get, Problem} from "./api.js";
import {make, say, count} from "./dom.js";
import {showConcepts} from "./concepts.js";

const VIEWS = {
  concepts: {show: async () => showConcepts, title: "Concepts"},
  concept: {show: async () => (await import("./concept.js")).showConcept, title: "Concept", tab: "concepts"},
  graph: {show: async () => (await import("./graph.js")).showGraph, title: "Graph"},
  photo: {show: async () => (await import("./photo.js")).showPhoto, title: "Photo"},
  compare: {show: async () => (await import("./compare.js")).showCompare, title: "Compare"},
  edit: {show: async () => (await import("./edit.js")).showEdit, title: "Edit"},
};

export const app = {about: null, m: 0, signal: null, parameters: new URLSearchParams(), argument: ""};
export const model = (m = app.m) => app.about.models[m];

/* The address of a view; the model goes along when it is not the first. */
export function address(view, argument = "", parameters = {}) {
  const query = new URLSearchParams({...parameters, ...(app.m && !("m" in parameters) ? {m: app.m} : {})}).toString();
  return `#/${view}${argument === "" ? "" : "/" + argument}${query ? "?" + query : ""}`;
}

/* The address changes without a new view: what was typed stays on going back. */
export function remember(view, argument, parameters) {
  history.replaceState(
    null,
    "",
    address(
      view,
      argument,
      Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== "" && value !== 0)),
    ),
  );
}

export async function refresh() {
  app.about = await get("/api/model");
  facts();
}

function facts() {
  const here = model();
  const switcher =
    app.about.models.length > 1
      ? make(
          "span",
          {class: "row-of"},
          app.about.models.map((other, m) =>
            make("button", {
              class: "chip",
              type: "button",
              "aria-pressed": m === app.m,
              text: other.name,
              onclick: () => {
                app.m = m;
                location.hash = address("concepts");
                facts();
              },
            }),
          ),
        )
      : make("b", {text: here.name});
  document
    .getElementById("facts")
    .replaceChildren(switcher, ` · ${count(here.n_concepts)} concepts, ${count(here.named)} named · ${here.backbone}`);
}

let leaving;
async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const [path, query] = location.hash.slice(2).split("?");
  const [name, argument = ""] = path.split("/");
  const view = VIEWS[name] ? name : "concepts",
    main = document.getElementById("main");
  leaving?.abort();
  leaving = new AbortController();
  const {signal} = leaving;
  app.signal = signal;
  app.parameters = new URLSearchParams(query ?? "");
  app.argument = decodeURIComponent(argument);
  try {
    if (!app.about) app.about = await get("/api/model", {}, signal);
    app.m = Math.min(Number(app.parameters.get("m")) || 0, app.about.models.length - 1);
    facts();
    document.title = `${VIEWS[view].title} · ${model().name} · Insight`;
    for (const link of document.querySelectorAll("nav a")) {
      const current = link.dataset.view === (VIEWS[view].tab ?? view);
      current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    }
    say("");
    const place = make("div"),
      fill = await VIEWS[view].show();
    if (signal.aborted) return;
    main.replaceChildren(place);
    await fill(place);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) console.error(error);
    main.append(make("p", {class: "problem", text: error.message}));
  }
}

document.getElementById("skip").addEventListener("click", event => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("hashchange", show);
addEventListener("unhandledrejection", event => {
  if (event.reason?.name === "AbortError") return event.preventDefault();
  say(event.reason?.message ?? String(event.reason), true);
});
show();
