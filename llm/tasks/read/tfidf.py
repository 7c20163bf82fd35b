"""The statistical rival: words weighted by TF-IDF and linear models (scikit-learn).

Slots with fixed options are read from the whole text; places and values, which stand in the text, from the words around
them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm.tasks.base import Answerer, Lesson
from llm.tasks.questions import Floats, Question, TaskError
from llm.tasks.read.options import SLOTS, Option, Sheet
from llm.tasks.read.prompt import page_of
from scenarios.words.phrases import length_class

#: Slots with the same options for every bulletin.
FIXED = ("kind", "type", "length", "lanes", "certain")
_WINDOW = 6
_TOKEN = r"[^\s.,;:!?]+"


class TfIdf(Answerer):
    """Linear models on TF-IDF.

    Args:
        strength: of the penalty on the weights.
    """

    def __init__(self, strength: float = 1e-5) -> None:
        self.strength = strength
        self._models: dict[str, Any] = {}

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:  # noqa: ARG002
        """Fit one model for each slot."""
        pages = [page_of(lesson.question) for lesson in train]
        for slot in SLOTS:
            texts, right = [], []
            for page, lesson in zip(pages, train, strict=True):
                rows = [(option, hit) for option, hit in zip(page.options, lesson.target, strict=True)]
                own = [(option, hit) for option, hit in rows if option.slot == slot]
                if slot in FIXED:
                    texts.append(_masked(page))
                    right.append(next((option.row for option, hit in own if hit == 1), ""))
                else:
                    for option, hit in own:
                        if not option.spans:
                            continue  # "not said" is what is left when nothing in the text fits
                        texts.append(_around(page, option))
                        right.append("yes" if hit == 1 else "no")
            self._models[slot] = self._fitted(texts, right, slot in FIXED)

    def answer(self, questions: Sequence[Question]) -> Floats:
        """The probability of each option."""
        if not self._models:
            raise TaskError("TfIdf has learnt nothing yet; call fit() with lessons first.")
        pages = [page_of(asked) for asked in questions]
        said = [np.zeros(len(page.options)) for page in pages]
        for slot in SLOTS:
            model = self._models[slot]
            columns = {name: k for k, name in enumerate(model.classes_)}
            wanted = [[k for k, option in enumerate(page.options) if option.slot == slot] for page in pages]
            if slot in FIXED:
                shares = model.predict_proba([_masked(page) for page in pages])
                for own, page, values, rows in zip(said, pages, shares, wanted, strict=True):
                    own[rows] = [values[columns[r]] if (r := page.options[k].row) in columns else 0.0 for k in rows]
            else:
                wanted = [[k for k in rows if page.options[k].spans] for page, rows in zip(pages, wanted, strict=True)]
                texts = [_around(page, page.options[k]) for page, rows in zip(pages, wanted, strict=True) for k in rows]
                yes = (
                    model.predict_proba(texts)[:, columns["yes"]]
                    if texts and "yes" in columns
                    else np.zeros(len(texts))
                )
                parts = np.split(yes, np.cumsum([len(rows) for rows in wanted])[:-1])
                for own, page, rows, values in zip(said, pages, wanted, parts, strict=True):
                    own[rows] = values
                    own[_null_options(page, slot)] = 1 - values.max(initial=0.0)
        return np.clip(np.concatenate(said), 1e-6, 1 - 1e-6)

    def _fitted(self, texts: list[str], right: list[str], fixed: bool) -> Any:
        from sklearn.dummy import DummyClassifier
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import SGDClassifier
        from sklearn.pipeline import make_pipeline

        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=_TOKEN, sublinear_tf=True)
        if len(set(right)) == 1:
            return make_pipeline(words, DummyClassifier()).fit(texts, right)
        weights = "balanced" if fixed else None  # most bulletins are certain, and most say no length
        model = SGDClassifier(loss="log_loss", alpha=self.strength, class_weight=weights, random_state=0, max_iter=60)
        return make_pipeline(words, model).fit(texts, right)


def _null_options(page: Sheet, slot: str) -> list[int]:
    return [k for k, option in enumerate(page.options) if option.slot == slot and option.value is None]


def _masked(page: Sheet, marked: Option | None = None) -> str:
    """The text with a word for each place, time, duration and number, those of one option with another."""
    parts = [
        *((one.start, one.end, "@place") for one in page.places),
        *((one.start, one.end, "@ahead" if one.value > 0 else "@past") for one in page.clocks),
        *((one.start, one.end, f"@duration_{length_class(one.value)}") for one in page.durations),
        *((one.start, one.end, "@number") for one in page.counts),
    ]
    spans = marked.spans if marked else ()
    text, at = "", 0
    for start, end, word in sorted(parts):
        if start >= at:
            sign = f"{spans.index((start, end))}this_{word}" if (start, end) in spans else word
            text += f"{page.text[at:start]} {sign} "
            at = end
    return f"by_{page.source} {text}{page.text[at:]}".lower()


def _around(page: Sheet, option: Option) -> str:
    """The words around an option in the text, each with its side, and how the option is made of them."""
    words = re.findall(_TOKEN, _masked(page, option))
    spots = [k for k, word in enumerate(words) if "this_@" in word]
    signs = [f"of_{len(option.spans)}", f"{option.slot}_{'none' if option.value is None else 'some'}"]
    if isinstance(option.value, (int, float)):
        signs.append("ahead" if option.value > 0 else "past" if option.value < 0 else "now")
    if not spots:
        return " ".join((*signs, *words))
    first = next((k for k, word in enumerate(words) if "@place" in word), -1)
    signs.append("is_first" if first == spots[0] else "is_later")
    for spot in spots:
        before, after = words[max(spot - _WINDOW, 0) : spot], words[spot + 1 : spot + 1 + _WINDOW]
        signs += [f"l_{word}" for word in before] + [f"r_{word}" for word in after]
        signs += [f"l1_{word}" for word in before[-1:]] + [f"r1_{word}" for word in after[:1]]
        signs += [f"l2_{'_'.join(before[-2:])}"]
    return " ".join((*signs, *(word for spot in spots for word in (words[spot],))))
