"""The words, as patterns, by which `reading.py` tells an answer from what only mentions a value. English."""

import re
from collections.abc import Sequence
from functools import lru_cache

UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()  # fmt: skip
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = {word: i for i, word in enumerate(UNITS)} | {word: 10 * i for i, word in enumerate(TENS, 2)} | {"hundred": 100}


def any_of(words: Sequence[str]) -> str:
    """An alternative of literal words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _pattern(text: str) -> re.Pattern:
    return re.compile(text, re.IGNORECASE | re.VERBOSE)


_SPELLED = rf"(?:one[ ]|a[ ])?hundred|(?:{any_of(TENS)})[- ](?:{any_of(UNITS[1:10])})|{any_of(NUMBER_WORDS)}"
_DIGITS = r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?"
NUMBER = rf"(?:(?<![\w.])(?:{_DIGITS})(?!\w|[.,]\d)|(?<![\w-])(?:{_SPELLED})(?!\w|-\w))"


def number(text: str) -> float | None:
    """The value of digits or of a number in words, None for other texts."""
    text = text.casefold().strip()
    if re.fullmatch(_DIGITS, text):
        return float(text.replace(",", ""))
    if not re.fullmatch(_SPELLED, text):
        return None
    words = [word for word in re.split(r"[- ]", text) if word != "a"]
    return 100.0 if "hundred" in words else float(sum(NUMBER_WORDS[word] for word in words))


# --- the form of a text
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)
FORMULA = re.compile(r"\\boxed\{([^}]*)\}|\$([^$\n]*)\$")
MARKDOWN = re.compile(r"[*_`#~]+|^\s*[>•]\s?|^\s*-\s+", re.M)
ENUMERATES = re.compile(r"^\s*\(?\d{1,2}[.):]\s+(?=\S)", re.M)
AROUND = ".!?,;:\"'“”‘()[]{} \t"
ENDS = re.compile(r"\s*(?:[.!?\"'”)\n]|$)")
ASKS_ONE = _pattern(r"\b(?:pick|choose|select|this|that|the|another|a|random|any|each|only|which|just|good|roll|name)\s+$")  # "pick one"
JOINS = _pattern(r"\s*(?:,|;|/|&|\band\b|\bor\b|,\s*(?:and|or)\b)\s*")
ORDERED = re.compile(r"\b(?:first|1st)\b.*\b(?:second|2nd)\b", re.I | re.S)

# --- what states the question again
_PERCENT = r"(?:\d+(?:\.\d+)?|\.\d+)\s*(?:%|percent\b|per[ ]cent\b)"
PERCENT = _pattern(_PERCENT)
PERCENT_BEHIND = _pattern(rf"[ ]*[(\[]?{_PERCENT}[)\]]?[ .]*$")
RANGE = _pattern(rf"""
    (?:\b(?:from|between|in[ ]the[ ]range(?:[ ]of)?|within|range)\s+)? [(\[]? \b({NUMBER})
    \s*(?:to|and|through|thru|[-–—]|\.\.+|,|&)\s* ({NUMBER}) [)\]]? (?:\s*\(?(?:inclusive|exclusive)\)?)?
""")
OPENS_RANGE = _pattern(r"from|between|in|within|range|[(\[]")
PLAIN_LIST = _pattern(r",|&|\band\b")
COUNT = _pattern(rf"""
    (?:{NUMBER})(?:\s+|-)(?:possible|different|equally|sides?|sided|faces?|faced|numbers?|options?|choices?|outcomes?|times|digits?|
        colou?rs?|balls?|marbles?|slots?|people|seconds?|minutes?|words?|letters?|dice|coins?|cards?|steps?|possibilities|integers?|
        of[ ](?:them|the|these)|in[ ]\d+)\b
    | \b\d*d\d+\b | /\s*\d+\b | \d+\s*/\s*\d+ | \b\d+(?:st|nd|rd|th)\b | \b\d+\s+in\s+\d+\b | \brandom\.?\w*\([^)]*\)
""")


@lru_cache
def options(words: tuple[str, ...]) -> list[re.Pattern]:
    """What lists the options of a question, or states their chances: "51% heads and 49% tails", "heads or tails", "3 red"."""
    word = rf"\b(?:{any_of(words)})\b"
    of = r"(?:(?:chance|probability)\s+)?(?:(?:of|for|to[ ]be|to[ ]land(?:[ ]on)?)\s+)?(?:the\s+|a\s+|getting\s+)?"
    one = rf"(?:(?:{_PERCENT}|\d+)\s+{of})?(?:the\s+|a\s+|being\s+)?{word}(?:\s*[(:=]?\s*{_PERCENT}\)?)?"
    joined = rf"{one}(?:\s*,\s*{one})*\s*,?\s*(?:\band\b|\bor\b|\bvs\b\.?|\bversus\b|/|&)\s*{one}"
    return [_pattern(text) for text in (joined, rf"{_PERCENT}\s+{of}{word}", rf"{word}\s*[(:=]?\s*{_PERCENT}\)?", rf"\b\d+\s+{word}")]


# --- what commits a speaker to a value, before and after it
_SAYS_I = r"""\b(?:i|let[ ]me|let's|let[ ]us|we)\b
    (?:\s*'(?:ll|d|m|ve)|\s+(?:will|would|am|have|shall|can|must|just|gonna|going|to|finally|randomly|then|now|so|think))*"""
_VERB = r"""(?:go(?:ing)?|went|gone)[ ](?:with|for)|choos(?:e|ing)|chose|chosen|pick(?:ed|ing)?|select(?:ed|ing)?|say(?:ing)?|said
    |guess(?:ed)?|roll(?:ed|ing)?|got|get|g[ai]ve[ ]you|give|name|draw|drew|drawn|flip(?:ped)?|toss(?:ed)?|(?:think|thought)[ ]of
    |settled?[ ]on|land(?:ed)?[ ]on|call|answer|suggest|pull(?:ed)?(?:[ ]out)?|take"""
_NOUN = r"""(?:answer|number|choice|pick|result|outcome|selection|roll|toss|flip|guess|side|colou?r|ball|marble|draw|die|dice|coin|spinner
    |face|response|value|one|word|card|option|decision|verdict|favou?rite)"""
_IS = r"""(?:is|was|are|be|being|would[ ]be|will[ ]be|c[ao]mes?[ ](?:up|out)(?:[ ]as)?|shows?|showed|says|reads|turned[ ]out(?:[ ]to[ ]be)?
    |land(?:s|ed)?(?:[ ]on)?|f[ae]lls?(?:[ ]on)?|stop(?:s|ped)?(?:[ ]on)?)"""
_BETWEEN = r"""(?:(?:the|a|an|number|side|is|be|of|up|on|as|it|with|for|definitely|probably|colou?r|ball|marble|drum|roll|face|option|simply
    |just|good|nice|old|that|of:|…|\.\.\.)[\s:,\-–—*"'“‘(\[]+){0,4}"""
COMMITS = _pattern(rf"""
    (?: {_SAYS_I}\s+(?:{_VERB})
      | \b(?:my|the|your|a|this|here|here's|random|final)\b[^.!?\n]{{0,40}}?\b{_NOUN}\b[^.!?\n\d]{{0,30}}?\b{_IS}
      | \b{_NOUN}\b[^.!?\n\d]{{0,30}}?\s*[:=]
      | \b(?:it|that|this)(?:\s*'s|\s+{_IS})
      | \bhere(?:\s*'s|\s+is|\s+you[ ]go|\s+it[ ]is|\s+goes)
      | \b(?:land(?:s|ed)|c[ao]mes?[ ]up|rolled|rolls|drew|turns?[ ]up)(?:[ ]on|[ ]as)?
      | \b(?:how[ ]about|say|so|therefore|thus|hence|go[ ]with) | = | -> | → | => | :
    ) [\s:,\-–—>*"'“‘(\[]* {_BETWEEN} $
""")
COMMITTED = _pattern(rf"""[\s"'”’)\]*,]*
    (?:it[ ]is\b | (?:is|was|will[ ]be|would[ ]be)\s+(?:my|the|your)\b[^.!?\n]{{0,25}}?\b{_NOUN}\b | comes?[ ]up\b | it[ ]shall[ ]be\b)
""")
CORRECTS = _pattern(r"""\b(?:but|actually|final(?:ly)?|instead|no[ ]wait|wait|therefore|thus|hence|so|second[ ]thought|change[ ]my[ ]mind
    |in[ ]the[ ]end|let[ ]me[ ](?:try|roll)[ ]again)\b""")

# --- what takes a value back, or puts it in another's mouth
DENIED = _pattern(r"""
    (?: \b(?:not|never|no|neither|nor|without|except|avoid(?:ing)?|unlike|cannot|excluding|besides|instead[ ]of|rather[ ]than|other[ ]than
        |opposed[ ]to|more[ ]than|less[ ]than|than|over|above|below|under|at[ ]least|at[ ]most|up[ ]to|out[ ]of|divided[ ]by|multiplied[ ]by
        |steps?|question|example|option|version|part|chapter|page|figure|attempt|try|round) | n't )
    \s+(?:(?:be|a|an|the|it|is|was|number|just|on|say|pick|choose|as|land|always|and|of|want|to|colou?r|side)\s+){0,3}["'“‘(]* $
""")
OTHERS_SAY = _pattern(r"""\b(?:people|most|many|everyone|everybody|humans|others|models|they|folks|friend|mother|father|brother|sister
    |he|she)\b[^.!?\n]{0,40} $""")
UNSURE = _pattern(r"""\b(?:maybe|perhaps|might|could[ ](?:be|have)|possibly|either|whether|if|e\.g\.
    |for[ ](?:example|instance)|such[ ]as|like|imagine|suppose
    |(?:chances?|probability|odds)[ ]of|likelihood[ ]of|probability[ ]that)\b[^.!?\n]{0,25} $""")
