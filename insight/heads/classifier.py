"""ConceptClassifier: images into classes by a sparse linear head on their concepts, by the rules of scikit-learn.

In: pooled activations, a feature cache, or photos, with a label each. Out: classes, probabilities, and for every photo
the concepts that decided, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64, Int64
from PIL import Image
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from naming import TEMPLATES
from sae.errors import InsightError

from .activations import as_array, is_activations, labelled, pooled_rows, with_labels
from .choice import AccuracyPath, Examples, accuracy_path, fit_within
from .class_texts import Classes, ClassWords, class_vectors
from .defaults import L1_RATIO, POOLING, SCALE, TEMPERATURE, VALIDATION
from .head import Head, class_probabilities, predicted
from .interventions import Interventions
from .large import fit_large, is_large, sample
from .linear import LinearFit, fit_linear
from .linear.scaling import Scale
from .parameters import check_parameters
from .pooling import Pooling, n_features
from .row_store import in_parts
from .text_head import TextHead

if TYPE_CHECKING:
    from ..attribution import Scorer
    from ..model import ConceptModel, EncodedPhoto
    from .class_explanation import ClassExplanation

WITH_MEAN = ("mean", "max+mean")
"""Poolings whose rows hold the means that a text head reads."""
ROWS = (np.float64, np.float32)
"""Kinds of number that activations are kept as; others become the first."""


class ConceptClassifier(Interventions, ClassifierMixin, BaseEstimator):
    """A sparse linear head on pooled concepts, an estimator of scikit-learn.

    `X` is, wherever it is asked for, pooled activations [n, F] (an array, a scipy matrix, `SparseCodes`; of any
    dictionary, no model needed), a `FeatureCache` or the path of one, or a sequence of photos (paths, PIL images). Of a
    cache, `y=None` means its own labels; images without one are left out.

    Args:
        model: what reads caches and photos, and names concepts; None: activations only.
        pooling: how the concepts of patches become those of the image (`insight.heads.pooling`). It also says what the
            columns of activations are: with "max+mean" the first half is the maximum of each concept and the second
            half its mean (an odd number of columns without a model: each is a concept of its own).
        alpha: strength of the penalty (`insight.heads.linear`); "auto": the one of best accuracy on held-out images
            among those whose decisions rest on at most 25 concepts, then fitted on all images. Of more images than fit
            into memory it is chosen on a sample, and all are fitted from batches (`insight.heads.large`).
        l1_ratio: share of the penalty that makes weights vanish.
        max_concepts: a class has a weight for so many concepts at most; the penalty is raised until that holds.
        prior: "text": few-shot; the classes' names give the logits to begin with (`zero_shot`), and the images teach
            the rest. The classes must be texts.
        class_weight: None, "balanced" or {class: weight}, as in scikit-learn.
        fit_intercept: whether classes have an intercept.
        scale: what a feature is divided by before it is penalised ("sqrt", "std", "max" or None).
        validation: share of each class that alpha="auto" holds out.
        random_state: of that choice.
        tol: of the solver.
        max_iter: of the solver.
        templates: texts around a class's name, {} for it.
        temperature: of logits from text: cosines are divided by it.

    Attributes:
        classes_: the classes, sorted.
        coef_: weights [C, F]; of two classes one row, which speaks for the second.
        intercept_: [C], likewise.
        n_features_in_: F.
        alpha_: the penalty.
        path_: `AccuracyPath` behind alpha="auto", else None.
        text_: the `TextHead` of `zero_shot` and prior="text", else None.
        n_iter_: of the solver.
        converged_: whether it came to the optimum.
    """

    def __init__(
        self,
        model: ConceptModel | None = None,
        *,
        pooling: Pooling = POOLING,
        alpha: float | Literal["auto"] = "auto",
        l1_ratio: float = L1_RATIO,
        max_concepts: int | None = None,
        prior: Literal["text"] | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        fit_intercept: bool = True,
        scale: Scale = SCALE,
        validation: float = VALIDATION,
        random_state: int | np.random.RandomState | None = 0,
        tol: float = 1e-4,
        max_iter: int = 1000,
        templates: Sequence[str] = TEMPLATES,
        temperature: float = TEMPERATURE,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.max_concepts = max_concepts
        self.prior = prior
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.scale = scale
        self.validation = validation
        self.random_state = random_state
        self.tol = tol
        self.max_iter = max_iter
        self.templates = templates
        self.temperature = temperature

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> ConceptClassifier:
        """Learn the weights. `y`: a class an image (None: not labelled, left out); for a cache its own by default.

        `InsightError` (a ValueError) for one class only, unlabelled images alone, NaN, and what does not fit the model.
        """
        self._learn(self._examples(X, y, sample_weight))
        return self

    def fit_path(self, X: Any, y: Any = None, sample_weight: Any = None) -> AccuracyPath:
        """Accuracy on held-out images against the number of concepts. The classifier itself is left as it was."""
        other = clone(self)
        return other._path(other._manageable(other._examples(X, y, sample_weight)))

    def decision_function(self, X: Any) -> Float64[np.ndarray, "n ..."]:
        """Logits [n, C]; of two classes [n], the log-odds of the second."""
        scores = self._head().scores(self._rows(X))
        return scores if scores.shape[1] > 1 else scores[:, 0]

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "n C"]:
        """Probabilities of all classes, in the order of `classes_`."""
        return class_probabilities(self._head().scores(self._rows(X)))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each image."""
        numbers = self._predicted(self._rows(X))
        return self.classes_[numbers]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Share of the images that are classified rightly; those without a label are left out."""
        X, y, sample_weight = self._labelled(X, y, sample_weight)
        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))

    def contributions(self, X: Any, target: Any = None) -> tuple[csr_array, Float64[np.ndarray, " n"]]:
        """What each concept [n, m] and the intercept [n] put into the logit of a class; together they are the logit.

        target: the class, or one an image; default: the one that is predicted. A concept's features count together.
        Of two classes the logit is the log-odds of that class. Concepts are those of the dictionary, edits or no.
        """
        head, rows = self._head(), self._rows(X)
        numbers = self._predicted(rows) if target is None else np.broadcast_to(self._numbers(target), rows.shape[0])
        return head.contributions(rows, numbers)

    def explain(self, image: Path | str | Image.Image | EncodedPhoto, target: Any = None) -> ClassExplanation:
        """Why a photo is of a class (default: the predicted one): each concept's exact share, its map, what suffices.

        `image`: a photo, or what `ConceptModel.encode_photo` made of it. `insight.heads.class_explanation` says what is
        in the answer. `InsightError` without a model, for a class that is none of `classes_` and for what is no photo.
        """
        from ..model import EncodedPhoto
        from .explaining import explain_photo

        head, model = self._head(), self._model("explaining a photo")
        number = None if target is None else int(self._numbers(target)[0])
        photo = image if isinstance(image, EncodedPhoto) else model.encode_photo(image)
        return explain_photo(model, head, self.pooling, self.classes_, photo, number)

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """The logits of some of `classes_`, differentiable in the features of photos; of two classes the log-odds of
        each. `InsightError` without a model and for other texts."""
        from .scoring import head_scorer

        head = self._head()
        return head_scorer(self._model("scoring photos"), head, self.pooling, texts, self._numbers(list(texts)))

    @classmethod
    def zero_shot(cls, model: ConceptModel, classes: Classes, **parameters: Any) -> ConceptClassifier:
        """A head from text alone, ready to predict: a photo's class is the one whose words its concepts are nearest to.

        logit_c = (Σ_k ā_k · W_dec[k] · t_c + b_dec · t_c) / (temperature · ‖x̂‖), ā the mean-pooled codes, so every
        concept's contribution is exact (`insight.heads.text_head`). `classes`: names, or {name: words that stand for
        it}; `parameters`: `templates`, `temperature` and others of the classifier. `classes_` keeps the given order.
        `InsightError` for fewer than two classes, names that are the same word, and a backbone without text.
        """
        head = cls(model, prior="text", **parameters)
        check_parameters(head)
        names = ClassWords.read(classes).names
        if len(names) < 2:
            raise InsightError(f"classes: expected at least two to choose from, found only {names[0]!r}")
        head.classes_ = np.array(names)
        head.n_features_in_ = n_features(model.sae.n_concepts, head.pooling)
        head.text_ = head._text(classes)
        rows = 1 if len(names) == 2 else len(names)
        head.coef_, head.intercept_ = np.zeros((rows, head.n_features_in_)), np.zeros(rows)
        head.path_, head.alpha_, head.n_iter_, head.converged_ = None, float("inf"), 1, True
        return head

    @classmethod
    def label_free(cls, model: ConceptModel, X: Any, classes: Classes, **parameters: Any) -> ConceptClassifier:
        """A sparse head that learns from unlabelled images what text says of them: no label is looked at.

        It is fitted to the probabilities that `zero_shot` gives the images, with `parameters` of the classifier; with
        alpha="auto" accuracy is agreement with the likeliest class. `InsightError` as of `zero_shot`.
        """
        teacher = cls.zero_shot(model, classes, **parameters)
        rows, said = teacher._rows(X), teacher._head().scores
        head = cls(model, **parameters)
        head.classes_, head.n_features_in_, head.text_ = teacher.classes_, teacher.n_features_in_, None

        def soft(part: csr_array) -> Float64[np.ndarray, "b C"]:
            return class_probabilities(said(part))

        head._learn(Examples(rows, teacher._predicted(rows), len(head.classes_), soft=soft))
        return head

    def save(self, folder: Path | str, *, model_place: Path | str | None = None) -> None:
        """Write `head.json` and `head.safetensors` into a folder. `model_place`: where `load` shall look for the model:
        the folder of one, or the name of one that comes with the package.
        """
        from .saving import save_classifier

        check_is_fitted(self)
        save_classifier(self, Path(folder), None if model_place is None else str(model_place))

    @classmethod
    def load(
        cls, folder: Path | str, model: ConceptModel | Path | str | None = None, *, device: str = "cpu"
    ) -> ConceptClassifier:
        """Read what `save` wrote. `model`: the model it is of, or where it is (default: where the head remembers it);
        one that is read here goes to `device`.

        `InsightError` for damaged files, and for a model whose backbone or dictionary is not that of the head.
        """
        from .saving import load_classifier

        return load_classifier(cls, Path(folder), model, device)

    def _fit_intercept(self, X: Any, y: Any) -> Float64[np.ndarray, " rows"]:
        """The best intercepts for the weights as they are."""
        rows, y, _ = self._labelled(X, y, None)
        rows, numbers = self._rows(rows), self._numbers(y)
        scores = self._head().scores(rows) - self.intercept_
        offset = scores if scores.shape[1] > 1 else np.hstack([np.zeros_like(scores), scores])
        nothing = csr_array((len(numbers), 1))
        return fit_linear(nothing, numbers, len(self.classes_), alpha=1.0, offset=offset, scale=None).intercept

    def _learn(self, examples: Examples) -> None:
        exact = self._manageable(examples)
        self.path_ = self._path(exact) if self.alpha == "auto" else None
        alpha = float(self.alpha) if self.path_ is None else float(self.path_.alpha[self.path_.chosen])
        found = self.max_concepts, self._head_of, self._settings()
        fit = fit_within(exact, alpha, *found)
        if exact is not examples:
            fit = fit_large(examples, fit, *found, "cpu" if self.model is None else self.model.device)
        self.coef_, self.intercept_, self.alpha_ = fit.coef, fit.intercept, fit.alpha
        self.n_iter_, self.converged_ = max(1, fit.iterations), fit.converged

    def _manageable(self, examples: Examples) -> Examples:
        """The examples, or so many of them as the exact solver can take."""
        return sample(examples, check_random_state(self.random_state)) if is_large(examples) else examples

    def _path(self, examples: Examples) -> AccuracyPath:
        state = check_random_state(self.random_state)
        return accuracy_path(examples, self.validation, state, self._head_of, self._settings(), self.max_concepts)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("l1_ratio", "fit_intercept", "scale", "tol", "max_iter")}

    def _examples(self, X: Any, y: Any, sample_weight: Any) -> Examples:
        """Checked rows and their classes; sets `classes_`, `n_features_in_` and `text_`."""
        check_parameters(self)
        X, y, sample_weight = self._labelled(X, y, sample_weight)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[*ROWS])
        rows = self._checked(csr_array(X))
        check_classification_targets(y)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is not None:
            balance = compute_sample_weight(self.class_weight, y)
            weight = balance if weight is None else weight * balance
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InsightError(f"fit: expected images of at least two classes, found one class, {y[0]}")
        self.text_ = self._text(self.classes_.tolist()) if self.prior == "text" else None
        offset = None if self.text_ is None else self.text_.offset
        return Examples(rows, numbers, len(self.classes_), weight, offset)

    def _labelled(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Activations, labels and weights of the labelled images."""
        X, y = with_labels(X, y)
        if not is_activations(X):
            if y is None:
                raise InsightError("expected a label for each photo, found none; give y")
            X = pooled_rows(X, self.model, self.pooling)
        return labelled(as_array(X), y, sample_weight)

    def _rows(self, X: Any) -> csr_array:
        """Rows [n, F] to predict from."""
        check_is_fitted(self)
        X, _ = with_labels(X, None)
        X = as_array(X) if is_activations(X) else pooled_rows(X, self.model, self.pooling)
        return csr_array(validate_data(self, X, accept_sparse="csr", dtype=[*ROWS], reset=False))

    def _checked(self, rows: csr_array) -> csr_array:
        """`InsightError` unless the model's concepts, pooled as said, make so many features."""
        if self.model is None:
            return rows
        expected = n_features(self.model.sae.n_concepts, self.pooling)
        if rows.shape[1] != expected:
            raise InsightError(
                f"X: expected {expected} columns, the model's {self.model.sae.n_concepts} concepts pooled by"
                f" {self.pooling!r}, found {rows.shape[1]}; pool them so, or say how they are pooled"
            )
        return rows

    def _text(self, classes: Classes) -> TextHead:
        model = self._model('prior="text"')
        if self.pooling not in WITH_MEAN:
            raise InsightError(
                f'text is compared with the mean of the patches: expected pooling "mean" or "max+mean", found'
                f" {self.pooling!r}"
            )
        return TextHead.of(model.sae, class_vectors(model.backbone, classes, self.templates).numpy(), self.temperature)

    def _model(self, what: str) -> ConceptModel:
        if self.model is None:
            raise InsightError(f"{what} needs the model the concepts are of: ConceptClassifier(model, ...)")
        return self.model

    def _head_of(self, fit: LinearFit) -> Head:
        return Head(fit.coef, fit.intercept, self._n_concepts(), self.text_)

    def _head(self) -> Head:
        check_is_fitted(self)
        return Head(self.coef_, self.intercept_, self._n_concepts(), self.text_)

    def _predicted(self, rows: csr_array) -> Int64[np.ndarray, " n"]:
        """The numbers of the likeliest classes; the logits are held for some rows at a time."""
        head = self._head()
        return np.concatenate([predicted(head.scores(part)) for part in in_parts(rows)])

    def _n_concepts(self) -> int:
        features = self.n_features_in_
        return features // 2 if self.pooling == "max+mean" and features % 2 == 0 else features

    def _numbers(self, classes: Any) -> np.ndarray:
        """The numbers of classes; `InsightError` for one that is none."""
        asked = np.atleast_1d(classes)
        place = {name: number for number, name in enumerate(self.classes_.tolist())}
        unknown = [name for name in asked.tolist() if name not in place]
        if unknown:
            known = ", ".join(map(str, self.classes_[:10])) + (", …" if len(self.classes_) > 10 else "")
            raise InsightError(f"expected one of the {len(self.classes_)} classes ({known}), found {unknown[0]!r}")
        return np.array([place[name] for name in asked.tolist()])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self) -> ConceptClassifier:
        """Unfitted, with the same parameters; the model is shared, not copied: it does not change."""
        parameters = self.get_params(deep=False)
        model = parameters.pop("model")
        return type(self)(model, **{name: clone(value, safe=False) for name, value in parameters.items()})
