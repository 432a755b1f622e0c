"""Commands that are given what is not there, or something else than they need: one line says what and where."""

import pytest

from .conftest import Complaint
from .world import table

NO_MODEL = "no model here; expected the folder of a model"
NO_CACHE = "expected a feature cache with manifest.json"
NO_IMAGES = "expected images, found no file with a suffix such as .jpg"

WRONG = table(f"""
demo --device cuda:77 → --device cuda:77: no such device here; expected cpu
build absent --out m → absent: expected a folder of images, a list of them
build whole.png --out m → found a file of another kind
build empty --out m → empty: {NO_IMAGES}
build model --out m → model: {NO_IMAGES}
build cache --out m → cache: {NO_IMAGES}
build photos --out m --backbone nonsense → no backbone is called 'nonsense'; expected small
build photos --out m --backbone timm:blind → timm:blind has no text space
build photos --out m --device nonsense → --device nonsense: no such device here
build photos --out m --vocabulary absent.txt → absent.txt: cannot be read
build photos --out m --vocabulary photos → photos: cannot be read (Is a directory)
build photos --out m --vocabulary whole.png → whole.png: expected UTF-8 text
build photos --out m --vocabulary zero.jpg → zero.jpg: expected phrases, one a line
build photos --out m --backbone timm:known --cache other-cache → other-cache: holds a cache made with other settings
explain → expected at least one photo to explain, found none; usage: insight explain
explain absent.jpg → absent.jpg: expected a photo, found nothing; check the path
explain absent → found only absent (nothing)
explain model → found only model (a model)
explain model absent.jpg → absent.jpg: expected a photo, found nothing
explain model photos → photos: expected a photo, found a folder
explain model text.jpg → text.jpg: not an image of a format that is read
explain model zero.jpg → zero.jpg: empty (zero bytes)
explain model cut.jpg → cut.jpg: damaged
explain model whole.png text.jpg → text.jpg: not an image
explain text.jpg → text.jpg: not an image
explain 'föto 2.png' → föto 2.png: expected a photo, found nothing
explain nonsense whole.png → nonsense: {NO_MODEL}
explain cache whole.png → cache: {NO_MODEL}
explain photos whole.png → photos: {NO_MODEL}
explain empty whole.png → empty: {NO_MODEL}
explain head whole.png → head: {NO_MODEL}
explain unrelated whole.png → unrelated: has no relations.npz yet; run `insight relate unrelated CACHE`
explain model whole.png --device cuda:77 → --device cuda:77: no such device here
concepts absent → absent: {NO_MODEL}
concepts whole.png → found a file
concepts cache → found a folder without config.json
concepts unrelated → run `insight relate unrelated CACHE`
concepts model --html o.html → o.html: expected --photos FOLDER
concepts model --html o.html --photos absent → --photos absent: expected a folder of photographs, found nothing
concepts model --html o.html --photos whole.png → --photos whole.png: expected a folder of photographs, found a file
concepts model --html o.html --photos empty → --photos empty: expected the photographs that the model was built from
concepts model --png o.png --photos cache → found none of them
info absent → absent: expected a cache (manifest.json) or a model (config.json), found nothing
info whole.png → found a file
info photos → found a folder with neither
cache write absent --out c → absent: expected a folder of images
cache write empty --out c → empty: {NO_IMAGES}
cache write model --out c → model: {NO_IMAGES}
cache write broken.json --out c → found a file of another kind
cache write voc:absent --out c → voc:absent: expected a folder, found nothing
cache write 'absent/{{00..03}}.tar' --out c → expected 4 tars, 4 are missing (first: absent/00.tar)
cache write photos --out c --backbone small@x → no backbone is called 'small@x'
cache write photos --out c --masks absent → masks without classes
cache write photos --out c --classes absent.txt → classes without masks
cache write photos --out c --splits train absent.txt → absent.txt: expected a list of images
cache write photos --out c --backbone timm:known --splits train words.txt → split train lists none of the images
cache verify → expected at least one cache, found none
cache verify absent → absent: {NO_CACHE}, found no such folder
cache verify whole.png → whole.png: {NO_CACHE}
cache verify model → model: {NO_CACHE}
cache verify empty → empty: {NO_CACHE}
cache info photos → photos: {NO_CACHE}
cache merge --out c → expected at least one cache, found none
cache merge cache absent --out c → absent: {NO_CACHE}
cache merge cache other-cache --out c → only caches of the same kind can be merged
cache merge cache cache --out c → an id can only be once in a cache
cache convert absent --out c --dtype int8 → absent: {NO_CACHE}
cache sample absent --out c --images 3 → absent: {NO_CACHE}
train absent --out m → absent: {NO_CACHE}
train photos --out m → photos: {NO_CACHE}
train model --out m → model: {NO_CACHE}
train whole.png --out m → whole.png: {NO_CACHE}
train absent --stream --out m --backbone timm:known → absent: expected a folder of images
train photos --stream --out m --backbone nonsense → no backbone is called 'nonsense'
relate absent cache → absent: {NO_MODEL}
relate cache model → cache: {NO_MODEL}
relate model model → model: {NO_CACHE}
relate model other-cache → other-cache: expected features of the backbone with fingerprint 5a5a5a5a5a5a
relate small cache → small: comes with the package and is not written to; copy
name absent → absent: {NO_MODEL}
name cache → cache: {NO_MODEL}
name small → small: comes with the package and is not written to
name unrelated → unrelated: has no relations.npz yet
name model --vocabulary lvis+absent.txt → absent.txt: cannot be read
name model --attributes photos → photos: cannot be read (Is a directory)
edit absent list → absent: {NO_MODEL}
edit photos list → photos: {NO_MODEL}
edit small rename 1 x → small: comes with the package and is not written to
edit unrelated rename 1 x → unrelated: expected the folder of a related model to edit
segment model absent.jpg --classes a,b → absent.jpg: expected a photo, found nothing
segment model cut.jpg --classes a,b → cut.jpg: damaged
segment cache whole.png --classes a,b → cache: {NO_MODEL}
segment model whole.png --head absent → absent: expected the folder of a segmenter
segment model whole.png --head head → head: expected the folder of a segmenter
classify fit absent photos --out h → absent: {NO_MODEL}
classify fit photos model --out h → photos: {NO_MODEL}
classify fit model absent --out h → absent: expected a folder of images
classify fit model empty --out h → empty: {NO_IMAGES}
classify fit model other-cache --out h → other-cache: expected features of the backbone with fingerprint
classify fit model photos/red --out h → photos/red: expected labelled images, found 8 without a label
classify predict head → expected at least one photo, found none; usage: insight classify predict
classify predict head absent.jpg → absent.jpg: expected a photo, found nothing
classify predict head whole.png zero.jpg → zero.jpg: empty (zero bytes)
classify predict absent whole.png → absent: expected the folder of a head with head.json
classify predict model whole.png → found none; `insight classify fit` makes one
classify predict head whole.png --classes a,b → head: {NO_MODEL}
classify predict head whole.png --model absent → head: its model cannot be read; say where it is by --model
classify explain head text.jpg → text.jpg: not an image
classify explain tuned whole.png → tuned: expected the folder of a head
find absent cache red → absent: {NO_MODEL}
find cache model red → cache: {NO_MODEL}
find model photos red → photos: {NO_CACHE}
find model other-cache red → other-cache: expected features of the backbone with fingerprint 5a5a5a5a5a5a
find model cache --like absent.jpg → absent.jpg: expected a photo, found nothing
find model cache --like text.jpg → text.jpg: not an image
find model cache --concept nonsense → expected the name or the id of a concept, found 'nonsense'
find model cache red --png o.png --photos absent → --photos absent: expected a folder of photographs
attribute m2ib model whole.png → expected at least one text to look for, found none; usage: insight attribute
attribute relevance model absent.jpg red → absent.jpg: expected a photo, found nothing
attribute relevance model zero.jpg red → zero.jpg: empty (zero bytes)
attribute relevance absent whole.png red → no backbone is called 'absent'
attribute relevance cache whole.png red → cache: expected a model, a head or a fine-tuned model (its folder)
attribute relevance timm:known whole.png red → use gradcam or rise
attribute concepts timm:known whole.png red → timm:known: expected a concept model
attribute similarity head whole.png nonsense → expected one of the 2 classes (blue, red), found 'nonsense'
finetune probe absent --out t --backbone timm:known → absent: expected a folder of images
finetune probe empty --out t --backbone timm:known → empty: {NO_IMAGES}
finetune probe photos/red --out t --backbone timm:known → photos/red: expected labelled photos, found none
finetune probe other-cache --out t --backbone timm:known → other-cache: expected features of the backbone
finetune probe photos --out t --backbone nonsense → no backbone is called 'nonsense'
finetune probe photos --out t --backbone timm:known --bank absent.json → absent.json: cannot be read
finetune probe photos --out t --backbone timm:known --bank broken.json → broken.json: expected JSON
finetune probe photos --out t --backbone timm:known --bank-from absent → absent: {NO_MODEL}
finetune probe photos --out t --backbone timm:known --gold absent.csv → absent.csv: expected a CSV file
finetune coop photos --out t --backbone timm:blind → timm:blind has no text tower
finetune xcoop photos --out t → xcoop needs concepts of each class: expected --bank or --bank-from, found neither
finetune predict tuned → expected at least one photo to classify, found none
finetune predict tuned cut.jpg → cut.jpg: damaged
finetune predict model whole.png → model: expected the folder of a fine-tuned model with method.json
finetune predict absent whole.png → absent: expected the folder of a fine-tuned model
""")


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_what_is_not_there_or_no_input_is_named(line: str, said: str, complaint: Complaint) -> None:
    assert said in complaint(line)
