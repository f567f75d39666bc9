"""Formatting of numbers and words: short, with units, a real minus sign, and a dash for unknown values."""

from collections.abc import Sequence
from math import floor

UNKNOWN = "–"
MAX_NAME_LENGTH = 60
"""Longer names are cut."""
_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def count(value: float | None) -> str:
    """A large count: 112 k, 2.40 M, 1.2 B."""
    if value is None:
        return UNKNOWN
    for size, suffix in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)}{suffix}"
    return f"{value:.0f}"


def power(exponent: int) -> str:
    """A power of ten: 10¹²."""
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def scientific(value: float | None) -> str:
    """A number with its power of ten: 3.21 × 10¹²."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × {power(int(exponent))}"


def duration(seconds: float | None) -> str:
    """A time: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def memory(size_bytes: float | None) -> str:
    """A memory size in decimal units: 412 MB."""
    if size_bytes is None:
        return UNKNOWN
    for size, suffix in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= size * 0.9995:
            return f"{_three_digits(size_bytes / size)} {suffix}"
    return f"{size_bytes:.0f} B"


def fixed(value: float | None, places: int = 3) -> str:
    """A number with a fixed number of decimals."""
    return UNKNOWN if value is None else f"{value:.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 3) -> str:
    """A difference, always with its sign; no sign on a zero."""
    if value is None:
        return UNKNOWN
    text = f"{value:+.{places}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", "−")


def percent(share: float) -> str:
    """A share in whole per cent: 16 %."""
    return f"{100 * share:.0f} %"


def ratio(value: float | None) -> str:
    """A ratio with two digits: 5.0, 42."""
    return UNKNOWN if value is None else fixed(value, 1 if value < 9.95 else 0)


def done_percent(share: float) -> str:
    """A share that is done in whole per cent; 100 % only if nothing is left."""
    return "less than 1 %" if 0 < share < 0.01 else f"{floor(100 * share)} %"


def decimal_places(values: Sequence[float]) -> int:
    """The number of decimals needed to distinguish differences of this size."""
    return 4 if values and max(abs(value) for value in values) < 0.02 else 3


def in_words(n: int) -> str:
    """A small count as a word."""
    return _WORDS[n] if 0 <= n < len(_WORDS) else str(n)


def capitalized(sentence: str) -> str:
    """The sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]


def plural(n: int, noun: str) -> str:
    """A count in words with its noun: one seed, two seeds."""
    return f"{in_words(n)} {noun}" if n == 1 else f"{in_words(n)} {noun}s"


def counted(n: int, noun: str) -> str:
    """A count in figures with its noun: 1 shard, 1,200 shards."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def all_of(n: int, noun: str) -> str:
    """All of two or more: both arms, all three arms."""
    return f"both {noun}s" if n == 2 else f"all {plural(n, noun)}"


def none_of(n: int, noun: str) -> str:
    """None of two or more, for a verb in the singular: neither arm, none of the three arms."""
    return f"neither {noun}" if n == 2 else f"none of the {plural(n, noun)}"


def with_article(n: int) -> str:
    """A number in front of a noun, with its article: a 4, an 8, an 11."""
    return f"{'an' if str(n).startswith('8') or n in (11, 18) else 'a'} {n}"


def join(items: Sequence[str]) -> str:
    """A list in words: a; a and b; a, b and c."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def cut(line: str, max_length: int) -> str:
    """A line of at most `max_length` characters; a longer one ends in an ellipsis."""
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def _three_digits(value: float) -> str:
    places = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{places}f}"
