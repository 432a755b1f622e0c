/* Nodes of the page. Every text goes in as textContent, so a name can never become markup. */

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || (value === false && !key.startsWith("aria-"))) continue;
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true && !key.startsWith("aria-") ? "" : value);
  }
  return put(node, ...children);
}

/* Appends what there is: lists of nodes and texts, and nothing for null. */
export function put(node, ...children) {
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/* A line at the foot of the page, read aloud; a problem stays until the next thing is done. */
let fading;
export function say(text, bad = false) {
  const status = document.getElementById("status");
  clearTimeout(fading);
  status.textContent = text;
  status.classList.toggle("bad", bad);
  if (text && !bad)
    fading = setTimeout(() => {
      status.textContent = "";
    }, 4000);
}

export const labelled = (text, control, wide = false) => make("label", {class: wide ? "wide" : null}, text, control);

export function select(options, chosen, onchange) {
  const node = make(
    "select",
    {onchange: () => onchange(node.value)},
    options.map(([value, text]) => make("option", {value, text, selected: String(value) === String(chosen)})),
  );
  return node;
}

export const percent = (share, digits = 0) => (100 * share).toFixed(digits) + " %";
export const few = share =>
  share >= 0.1 ? percent(share) : share >= 0.001 ? percent(share, 1) : share > 0 ? percent(share, 3) : "0 %";
export const count = number => number.toLocaleString("en");
export const plural = (number, word, more = word + "s") => count(number) + " " + (number === 1 ? word : more);

/* A bar from 0 to 1. */
export function meter(share) {
  const fill = make("i");
  fill.style.width = 100 * Math.min(1, Math.max(0, share)) + "%";
  return make("span", {class: "meter", "aria-hidden": "true"}, fill);
}

export function swatch(colour) {
  const node = make("span", {class: "swatch", "aria-hidden": "true"});
  node.style.background = colour;
  return node;
}
