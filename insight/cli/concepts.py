"""`insight concepts`: the dictionary, or the part of it nearest to a text."""

from pathlib import Path
from typing import Any

from ..defaults import MODEL
from .options import Device, MaybeFile, MaybeFolder, MaybeModel, MaybeText, pick_device


def concepts(
    model: MaybeModel = MODEL,
    /,
    query: MaybeText = None,
    top: int = 20,
    json: MaybeFile = None,
    html: MaybeFile = None,
    png: MaybeFile = None,
    photos: MaybeFolder = None,
    graph: MaybeFile = None,
    device: Device = None,
) -> None:
    """List the concepts of a model, most frequent first; with a query, those nearest to the text.

    What a person hid or merged into another (`insight edit`) is not listed; what a person changed is marked.

    Example: insight concepts small --query "bicycle wheel"

    Args:
        query: A word or sentence to look for.
        top: How many to list (0: all).
        json: File to write the list to.
        html: File to write a page to that shows each concept where it is strongest; needs `--photos`.
        png: File to draw a contact sheet to: a row each, with crops, parents, parts; needs `--photos`.
        photos: Folder of the photographs that the model was built from.
        graph: File to write the concepts listed to, with their parents and children: .graphml for Gephi, yEd, Cytoscape
            or networkx, .mmd for Mermaid.
    """
    from sae.errors import InsightError
    from sae.files import atomic_write, write_json

    from ..models import model_folder
    from .inputs import check_at_least, check_folder_of_photos
    from .outputs import check_file

    check_at_least(0, top=top)
    if query is not None and not query.strip():
        raise InsightError("--query: expected a word or sentence, found nothing")
    check_file("--json", json, ".json")
    check_file("--html", html, ".html")
    check_file("--png", png, ".png")
    check_file("--graph", graph, ".graphml", ".mmd")
    check_folder_of_photos("--photos", photos)
    if (shows := png or html) and not photos:
        raise InsightError(f"{shows}: expected --photos FOLDER with the photographs to cut examples from, found none")

    folder = model_folder(model)  # that there is none is said before torch is loaded

    from ..model import ConceptModel
    from ..pipeline import describe_model
    from ..render.cards import concept_cards
    from ..render.page import write_page
    from ..render.sheet import draw_sheet
    from ..render.sheet_rows import sheet_rows

    loaded = ConceptModel.from_pretrained(folder, device=pick_device(device))
    count = top or len(loaded.concepts)
    if query is None:
        shown = [concept for concept in loaded.concepts if concept.shown]
        ranked = sorted(shown, key=lambda concept: -concept.frequency)[:count]
        found: list[tuple[Any, float | None]] = [(concept, None) for concept in ranked]
    else:
        found = list(loaded.search(query, top=count))
    rows = [
        {
            "id": concept.id,
            "name": concept.title,
            "alternatives": [list(pair) for pair in concept.scored_alternatives],
            "level": concept.level,
            "frequency": concept.frequency,
            "parents": [int(i) for i in loaded.relations.parents(concept.id)],
            "children": [int(i) for i in loaded.relations.children(concept.id)],
            "edited": concept.edited,
            **({} if score is None else {"similarity": round(score, 4)}),
        }
        for concept, score in found
    ]
    if photos:
        _check_examples(photos, folder / "examples.parquet", [row["id"] for row in rows])
    title = f"{len(rows)} concepts of {Path(model).name}" + (f" near “{query}”" if query else "")
    if json:
        write_json(json, rows)
    if html and photos:
        cards = concept_cards(loaded, folder, photos, [row["id"] for row in rows])
        write_page(html, title=title, explanations=[], cards=cards, facts=describe_model(loaded.config))
    if png and photos:
        lines = sheet_rows(loaded, folder, photos, [row["id"] for row in rows])
        draw_sheet(png, lines, title=title, note=loaded.config["backbone"]["description"])
    if graph:
        listed = [row["id"] for row in rows]
        if graph.suffix == ".graphml":
            loaded.relations.save_graphml(graph, listed)
        else:
            with atomic_write(graph) as temporary:
                temporary.write_text(loaded.relations.to_mermaid(listed), encoding="utf-8")
    if json or html or png or graph:
        return
    for row in rows:
        also = ", ".join(text for text, _ in row["alternatives"][:3])
        score = f"  {row['similarity']:.2f}" if "similarity" in row else ""
        mark = "edited; " if row["edited"] else ""
        facts = f"{mark}level {row['level']}, {row['frequency']} patches; also: {also}"
        print(f"{row['id']:6d}{score}  {row['name']}  ({facts})")


def _check_examples(photos: Path, table: Path, concepts: list[int]) -> None:
    """`InsightError` where a folder has none of the photographs that concepts are shown in."""
    from sae.errors import InsightError

    from ..examples import load_examples

    images = {example.image for examples in load_examples(table, concepts).values() for example in examples}
    if images and not any((photos / image).is_file() for image in images):
        raise InsightError(
            f"--photos {photos}: expected the photographs that the model was built from, such as {min(images)}, found"
            " none of them; check the path"
        )
