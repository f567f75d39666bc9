"""The formats of task files: a line's JSON becomes a row as published, and that an example as text.

Files come as their authors publish them, as the Hugging Face Hub has them, or as the rows of llm-foundry:

    {"goal": "dresser", "sol1": "replace it", "sol2": "finish", "label": 1}            PIQA, as published
    {"query": "Question: dresser\n", "choices": ["replace it", "finish"], "gold": 1}   the same from llm-foundry

`publish_...` makes the first of either, in the form that lm-evaluation-harness reads; `parse_...` makes an `Item`
of it, with the prompt and the answers of that harness. What is not of the task raises one of the errors that
`task_file.read_items` lists.
"""

import re
from dataclasses import dataclass
from typing import Any

from deepen.evaluate.encoding import shared_length
from deepen.evaluate.task_file import Row

_SENTENCE_END = re.compile(r"[.!?]['\")]* ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An example as text. Raises a ValueError for empty texts or a label that is not the index of an ending.

    Attributes:
        contexts: what stands before each ending; empty where there is nothing, as in pairs of sentences.
        endings: the texts to score, with the space before them.
        label: the index of the right ending.
        lengths: the characters of each answer, for scores per character; by default those of the endings.
    """

    contexts: tuple[str, ...]
    endings: tuple[str, ...]
    label: int
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for text in (*filter(None, self.contexts), *self.endings):
            check_text(text)
        if len(self.endings) < 2 or len(self.contexts) != len(self.endings):
            raise ValueError("there must be at least two endings, each with a context")
        if type(self.label) is not int or not 0 <= self.label < len(self.endings):
            raise ValueError("label must be the index of one of the endings")
        if not self.lengths:
            object.__setattr__(self, "lengths", tuple(map(len, self.endings)))


def make_item(context: str, answers: list[str], label: int) -> Item:
    """An item whose answers follow the same context after a space. Raises a ValueError if the context is empty."""
    check_text(context)
    if not isinstance(answers, list):
        raise TypeError("answers must be a list")
    return Item(
        contexts=(context,) * len(answers),
        endings=tuple(f" {check_text(answer)}" for answer in answers),
        label=label,
        lengths=tuple(map(len, answers)),
    )


def check_text(text: Any) -> str:
    """The text itself. Raises a ValueError if it is not text, is blank, or cannot be encoded."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError("must be text")
    text.encode("utf-8")  # JSON can hold half a surrogate pair, which tokenizers refuse
    return text


def publish_hellaswag(row: Row) -> Row:
    """HellaSwag (Zellers et al. 2019). A row without `ctx_a` and `ctx_b`, as in files whose WikiHow tags are
    stripped, is split at its last sentence: this gives the parts of all 1,000 published rows that were compared.
    """
    if "query" in row:
        activity, _, text = row["query"].partition(": ")
        return {
            "activity_label": activity,
            "ctx_a": text,
            "ctx_b": "",
            "endings": row["choices"],
            "label": row["gold"],
        }
    label = row["label"]
    row = row | {"label": int(label) if isinstance(label, str) else label}
    if "ctx_a" in row:
        return row
    ctx = check_text(row["ctx"])
    split = max((end.end() for end in _SENTENCE_END.finditer(ctx)), default=0)
    if not ctx[split : split + 1].islower():
        split = len(ctx)
    return row | {"ctx_a": ctx[:split].rstrip(), "ctx_b": ctx[split:]}


def parse_hellaswag(row: Row) -> Item:
    """The context as it is, as in the paper's code."""
    return make_item(row["ctx"], row["endings"], row["label"])


def parse_hellaswag_harness(row: Row) -> Item:
    """The activity before the context, the last sentence capitalised, WikiHow's tags removed."""
    text = f"{check_text(row['activity_label'])}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return make_item(_without_tags(text), [_without_tags(ending) for ending in row["endings"]], row["label"])


def _without_tags(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def publish_arc(row: Row) -> Row:
    """ARC (Clark et al. 2018): AI2's own files, those of the Hub, or llm-foundry's rows."""
    if "query" in row:
        letters = [chr(ord("A") + index) for index in range(len(row["choices"]))]
        return {
            "question": _question(row["query"]),
            "choices": {"text": row["choices"], "label": letters},
            "answerKey": chr(ord("A") + row["gold"]),
        }
    if isinstance(row["question"], dict):
        question = row["question"]
        choices = {key: [choice[key] for choice in question["choices"]] for key in ("text", "label")}
        return {"question": question["stem"], "choices": choices, "answerKey": row["answerKey"]}
    return row


def parse_arc(row: Row) -> Item:
    """A question and its answers."""
    label = row["choices"]["label"].index(row["answerKey"])
    return make_item(f"Question: {check_text(row['question'])}\nAnswer:", row["choices"]["text"], label)


def publish_piqa(row: Row) -> Row:
    """PIQA (Bisk et al. 2020), with the label in each row as on the Hub."""
    if "query" in row:
        sol1, sol2 = row["choices"]
        return {"goal": _question(row["query"]), "sol1": sol1, "sol2": sol2, "label": row["gold"]}
    return row


def parse_piqa(row: Row) -> Item:
    """A goal and two ways to reach it."""
    goal = check_text(row["goal"])
    return make_item(f"Question: {goal}\nAnswer:", [row["sol1"], row["sol2"]], row["label"])


def publish_winogrande(row: Row) -> Row:
    """WinoGrande (Sakaguchi et al. 2019)."""
    if "context_options" not in row:
        return row
    first, second = row["context_options"]
    shared = shared_length(check_text(first), check_text(second))
    return {
        "sentence": f"{first[:shared]}_ {row['continuation']}",
        "option1": first[shared:],
        "option2": second[shared:],
        "answer": str(row["gold"] + 1),
    }


def parse_winogrande(row: Row) -> Item:
    """The rest of the sentence after either option; the same text is scored after two contexts."""
    before, blank, after = row["sentence"].partition("_")
    if not blank:
        raise ValueError("the sentence has no blank")
    options = (row["option1"], row["option2"])
    rest = f" {check_text(after).strip()}"
    return Item(
        contexts=tuple(check_text(before + option) for option in options),
        endings=(rest, rest),
        label=("1", "2").index(row["answer"]),
    )


def parse_blimp(row: Row) -> Item:
    """BLiMP (Warstadt et al. 2020): two whole sentences, the first acceptable."""
    pair = (row["sentence_good"], row["sentence_bad"])
    return Item(contexts=("", ""), endings=tuple(f" {check_text(sentence)}" for sentence in pair), label=0)


def publish_lambada(row: Row) -> Row:
    """LAMBADA (Paperno et al. 2016), as OpenAI prepared it for GPT-2, or the original."""
    if "continuation" in row:
        return {"text": f"{check_text(row['context'])} {check_text(row['continuation'])}"}
    return row


def parse_lambada(row: Row) -> tuple[str, str]:
    """The passage without its last word, and this word with the space before it."""
    context, _, word = row["text"].rpartition(" ")
    return check_text(context), f" {check_text(word)}"


def parse_text(row: Row) -> str:
    """A document."""
    return check_text(row["text"])


def publish_as_is(row: Row) -> Row:
    """For tasks with only one format."""
    return row


def _question(query: str) -> str:
    """The question in a query of llm-foundry."""
    return query.removeprefix("Question: ").removesuffix("\n")
