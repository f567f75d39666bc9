"""The words of the page that a reader may not know, explained as in docs/glossary.md, and links to them."""

import re

from markupsafe import Markup, escape

TERMS = {
    "block": "one residual transformer layer; a model of depth n has n of them between embeddings and head",
    "arm": (
        "a recipe with options, under a name, with the study's learning rate or its own, trained for several seeds"
    ),
    "baseline": "the arm that the others are compared with, usually full: the final depth from the start",
    "best fixed depth": (
        "the constant depth with the lowest loss at equal compute on the seeds of the trials: the second "
        "baseline. Growing pays only where an arm beats both, and every other constant depth of the study"
    ),
    "control": (
        "an arm that isolates a cause: small (the shallow model alone), staged (the stages with nothing frozen)"
    ),
    "seed": "fixes the order of the data and the initial weights of a run; arms are compared seed by seed",
    "frozen": (
        "of a block: it is executed but receives no updates; if no gradients run through it, it costs its "
        "forward pass alone"
    ),
    "growth operator": (
        "how new blocks get their weights: random, identity, copy-zero, stack, interleave, last, middle, "
        "interpolate …"
    ),
    "exact FLOPs": "every multiplication and addition of training, counted for each part of the network",
    "mark": "a point on an arm's curve at which its compute equals a given budget",
    "annealed point": "a loss measured at the end of a run whose learning rate was fully decayed",
    "nats per token": (
        "the unit of the loss: the negative natural logarithm of a token's probability, mean over the text"
    ),
    "difference": (
        "an arm's validation loss minus the baseline's with the same seed, mean over seeds; below zero "
        "the arm is better"
    ),
    "joint interval": (
        "an interval of a difference that is wide enough for the intervals of all arms at a budget to hold "
        "together with the stated confidence"
    ),
    "cannot tell": ("the joint interval includes zero: the study shows neither a gain nor a loss of this arm"),
    "compute multiplier": (
        "the compute the baseline needs to reach an arm's loss, divided by the compute the arm used; "
        "above 1 the arm is better"
    ),
    "tokens per parameter": (
        "the baseline's training tokens divided by the parameters without embeddings; about 20 is compute-optimal"
    ),
    "trial": (
        "a run that only chooses a learning rate, an option or a depth, on seeds that no verdict uses; "
        "every arm and every depth gets as many"
    ),
    "edge of the grid": (
        "of a chosen rate: it is the lowest or the highest that was tried, so a better one may lie "
        "beyond, and no multiplier is claimed"
    ),
    "primary arm": (
        "the arm that was declared, before the first verdict, to be the one that the study is about; all "
        "others are exploratory"
    ),
    "look": "a number of seeds with which verdicts were written; each further look widens the intervals",
}
"""The terms in the order in which the page needs them, with their explanations."""


def anchor(term: str) -> str:
    """The fragment of a term on the page."""
    return "word-" + re.sub(r"[^a-z0-9]+", "-", term.lower())


class TermLinks:
    """Links to the explanations of terms, and a record of the terms that were linked."""

    def __init__(self) -> None:
        self._linked: set[str] = set()

    @property
    def used(self) -> dict[str, str]:
        """The linked terms with their explanations, in the order of `TERMS`."""
        return {term: meaning for term, meaning in TERMS.items() if term in self._linked}

    def link(self, term: str, shown: str = "") -> Markup:
        """A link to the explanation of a term.

        Args:
            term: one of `TERMS`.
            shown: the text of the link, if it is another form of the term.
        """
        assert term in TERMS, f"{term} is not explained"
        self._linked.add(term)
        return Markup('<a class="term" href="#{}">{}</a>').format(anchor(term), escape(shown or term))
