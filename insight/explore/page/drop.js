/* Where photos come in: dropped, chosen, pasted, or one of the model's own. */
import {get, photoUrl, upload} from "./api.js";
import {make, say} from "./dom.js";

/* `chosen(token)` is called with what the server calls the photo; `name` says which photo is asked for. */
export function dropPlace(name, chosen, {samples = true} = {}) {
  const file = make("input", {
    type: "file",
    class: "hidden",
    accept: "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff",
    tabindex: -1,
    "aria-label": name,
    onchange: () => file.files[0] && take(file.files[0]),
  });
  const strip = make("div", {class: "samples"}),
    problem = make("p", {class: "problem", role: "alert", hidden: true});
  const place = make(
    "div",
    {class: "drop", "data-drop": name},
    make(
      "div",
      {class: "row-of"},
      make("b", {text: name}),
      make("button", {class: "plain", type: "button", text: "Choose a photo", onclick: () => file.click()}),
      make("span", {class: "hint", text: "or drop one here, or paste it"}),
    ),
    file,
    strip,
    problem,
  );

  async function take(given) {
    problem.hidden = true;
    say(`Reading ${given.name ?? "the photo"} …`);
    try {
      const {photo} = await upload(given);
      mark(null);
      await chosen(photo);
      say("");
    } catch (error) {
      say("");
      problem.textContent = `${given.name ?? "the photo"}: ${error.message}`;
      problem.hidden = false;
    }
  }
  const mark = photo => {
    for (const other of strip.children) other.setAttribute("aria-pressed", other.dataset.photo === photo);
  };

  for (const kind of ["dragenter", "dragover"])
    place.addEventListener(kind, event => {
      event.preventDefault();
      place.classList.add("over");
    });
  for (const kind of ["dragleave", "drop"]) place.addEventListener(kind, () => place.classList.remove("over"));
  place.addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  place.addEventListener("paste", event => {
    if (event.clipboardData.files[0]) take(event.clipboardData.files[0]);
  });
  if (samples)
    get("/api/samples")
      .then(({photos}) =>
        strip.replaceChildren(
          ...photos.map(({photo, title}) =>
            make(
              "button",
              {
                type: "button",
                "aria-pressed": false,
                "aria-label": `photograph ${title}`,
                title,
                "data-photo": photo,
                onclick: async () => {
                  mark(photo);
                  problem.hidden = true;
                  try {
                    await chosen(photo);
                  } catch (error) {
                    problem.textContent = error.message;
                    problem.hidden = false;
                  }
                },
              },
              make("img", {src: photoUrl(photo), alt: "", width: 72, height: 72}),
            ),
          ),
        ),
      )
      .catch(() => {});
  return place;
}
