"""`deepen sample CKPT --prompt TEXT`: text from a checkpoint."""

import json
from collections.abc import Iterator

from deepen.cli.requests.sample import SampleRequest
from deepen.data.tokenizers import Tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.checkpoint import Checkpoint
from deepen.interop.generation import Sampling, generate, load_predictor
from deepen.interop.load import load_checkpoint_tokenizer


def run(request: SampleRequest) -> int:
    """Print each prompt with its continuation."""
    checkpoint = request.checkpoint
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    samples = []
    for prompt, text in _generate(request, checkpoint, tokenizer):
        samples.append({"prompt": prompt, "text": text})
        if not request.as_json:
            print(_printable(f"{prompt}{text}\n"))
    if request.as_json:
        print(json.dumps(samples, indent=1, ensure_ascii=False))
    return 0


def _generate(request: SampleRequest, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """Each prompt with a continuation."""
    model = load_predictor(checkpoint)
    for prompt in request.prompts or ("",):
        ids = tokenizer.encode(prompt) or _start(tokenizer)
        for number in range(request.samples):
            sampling = Sampling(
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                seed=request.sampling_seed + number,
            )
            tokens = generate(
                model, ids, request.tokens, sampling, vocab=tokenizer.vocab, end=tokenizer.end_of_text
            )
            yield prompt, tokenizer.decode(tokens)


def _printable(text: str) -> str:
    """The text without characters that control a terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def _start(tokenizer: Tokenizer) -> list[int]:
    """The start of a document: the end of the text before it."""
    if tokenizer.end_of_text is None:
        raise InvalidValueError(
            "is missing, and the tokenizer has no token that starts a document", field="prompt", remedy="give one"
        )
    return [tokenizer.end_of_text]
