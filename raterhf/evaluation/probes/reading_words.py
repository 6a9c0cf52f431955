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
LISTED = re.compile(r"(?<![\w(])\d{1,2}\)\s(?=.*(?<![\w(])\d{1,2}\)\s)|(?<=\s)\d{1,2}\)\s", re.S)
ENUMERATES = re.compile(r"^\s*\(?\d{1,2}[.):]\s+(?=\S)", re.M)
AROUND = ".!?,;:\"'“”‘()[]{} \t"
ENDS = re.compile(r"\s*(?:[.!?\"'”)\n]|$)")
ASKS_ONE = _pattern(r"\b(?:pick|choose|select|this|that|the|another|a|random|any|each|only|which|just|good|roll|name)\s+$")  # "pick one"
JOINS = _pattern(r"\s*(?:,|;|/|&|,?\s*\b(?:and|or)\b(?:\s+(?:maybe|perhaps|even|possibly))?)\s*")
ORDERED = re.compile(r"\b(?:first|1st)\b.*\b(?:second|2nd|other|next)\b(?! (?:look|thought))|\bone is\b.*\bthe other\b", re.I | re.S)
CODE = re.compile(r"```\w*\n(.*?)(?:```|\Z)", re.S)
CODE_LINE = re.compile(
    r"^\s*(?:(?:import|return|def|let|const|var|for|while|from \w+ import|print\().*"
    r"|[\w.\[\]]+\s*[-+*]?=\s*[\[{(\"'\w].*|[\w.]+\(.*\)\s*;?.*)$",
    re.M,
)
COMMENT = re.compile(r"(?://|#)\s*(.*)$", re.M)
RESULTS = re.compile(r"(?:number|result|answer|value|choice|roll|pick|outcome|colou?r|side|output|ball|option|selected)$", re.I)

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
    | \b\d+\s+out\s+of\s+\d+ | \bout\s+of\s+(?:a\s+possible\s+)?(?:{NUMBER}) | \b\d*d\d+\b | /\s*\d+\b | \d+\s*/\s*\d+
    | \b\d+(?:st|nd|rd|th)\b | \b\d+\s+in\s+\d+\b | \brandom\.?\w*\([^)]*\)
""")


@lru_cache
def options(words: tuple[str, ...]) -> list[re.Pattern]:
    """What lists the options of a question, or states their chances: "51% heads and 49% tails", "heads or tails", "3 red"."""
    word = rf"\b(?:{any_of(words)})\b"
    of = r"(?:(?:chance|probability)\s+)?(?:(?:of|for|to[ ]be|to[ ]land(?:[ ]on)?)\s+)?(?:the\s+|a\s+|getting\s+)?"
    one = rf"(?:(?:{_PERCENT}|\d+)\s+{of})?(?:the\s+|a\s+|being\s+)?{word}(?:\s*[(:=]?\s*{_PERCENT}\)?)?"
    joined = rf"{one}(?:\s*,\s*{one})*\s*,?\s*(?:\band\b|\bor\b|\bvs\b\.?|\bversus\b|/|&)\s*{one}"
    told = (
        rf"{word}[ \t]*[(:=][ \t]*{_PERCENT}\)?",
        joined,
        rf"{_PERCENT}[ \t]+{of}{word}",
        rf"{word}[ \t]*{_PERCENT}",
        rf"\b\d+[ \t]+{word}",
    )
    return [_pattern(text) for text in told]


# --- what commits a speaker to a value, before and after it: of his own accord, or only in passing
_SAYS_I = r"""\b(?:i|let[ ]me|let's|let[ ]us|we)\b
    (?:\s*'(?:ll|d|m|ve)|\s+(?:will|would|am|have|shall|can|must|just|gonna|going|to|finally|randomly|then|now|so|think|really|do|most))*"""
_VERB = r"""(?:go(?:ing)?|went|gone)[ ](?:with|for)|choos(?:e|ing)|chose|chosen|pick(?:ed|ing)?|select(?:ed|ing)?|say(?:ing)?|said
    |guess(?:ed)?|roll(?:ed|ing)?|got|get|g[ai]ve[ ]you|give|name|draw|drew|drawn|flip(?:ped)?|toss(?:ed)?|(?:think|thought)[ ]of|prefer
    |find|settled?[ ]on|land(?:ed)?[ ]on|call|answer|suggest|offer|pull(?:ed)?(?:[ ]out)?|take|(?:love|like)(?:[ ]best)?|favou?r
    |vote[ ]for"""
_NOUN = r"""(?:answer|number|choice|pick|result|outcome|selection|roll|toss|flip|guess|side|colou?r|ball|marble|draw|die|dice|coin|spinner
    |face|response|value|one|word|card|option|decision|verdict|favou?rite|prediction|output)"""
_IS = r"""(?:is|was|are|be|being|would[ ]be|will[ ]be|c[ao]mes?[ ](?:up|out)(?:[ ]as)?|shows?|showed|says|reads|turned[ ]out(?:[ ]to[ ]be)?
    |land(?:s|ed)?(?:[ ]on)?|f[ae]lls?(?:[ ]on)?|stop(?:s|ped)?(?:[ ]on)?|gives|equals)"""
_BETWEEN = r"""(?:(?:the|a|an|number|side|is|be|of|up|on|as|it|with|for|to|definitely|probably|colou?r|ball|marble|drum|roll|face|option
    |simply|just|good|nice|measly|mere|whopping|lucky|old|that|of:|letter|choice|…|\.\.\.)[\s:,\-–—*"'“‘(\[]+){0,4}"""
_BEGINS = rf"""[^\w.!?]* {_BETWEEN} $"""
COMMITS = _pattern(rf"""
    (?: {_SAYS_I}\s+(?:{_VERB})
      | \b(?:my|the|your|final|random|generated)\b[^.!?\n]{{0,30}}?\b{_NOUN}\b[^.!?\n\d]{{0,20}}?\s*(?:\b{_IS}\b|[:=])
      | (?:^|\n)[\s"']* (?:final\s+)? {_NOUN} ["']? \s*[:=]
      | \bi(?:'ll|[ ]will|[ ]would|'d)?[^.!?\n]{{0,60}}\b(?:but|and|so)\s+(?:got|rolled|picked|chose|drew|pick|choose|say|prefer)
      | \b(?:therefore|thus|hence|go[ ]with|prints|returns|output:?|corrected:?|corrected[ ]to) | -> | → | =>
    ) {_BEGINS}
""")
PASSES = _pattern(rf"""
    (?: \b(?:a|this|here|here's|only)\b[^.!?\n]{{0,40}}?\b{_NOUN}\b[^.!?\n\d]{{0,30}}?\b{_IS}
      | \b{_NOUN}\b[^.!?\n\d]{{0,30}}?(?:\s*[:=]|\b{_IS})
      | \b(?:it|that|this)(?:\s*'s|\s+{_IS})
      | \bhere(?:\s*'s|\s+is|\s+you[ ]go|\s+it[ ]is|\s+goes)
      | \b(?:land(?:s|ed)|c[ao]mes?[ ]up|rolled|rolls|drew|got|turns?[ ]up)(?:[ ]on|[ ]as)?
      | \b(?:how[ ]about|say|so|okay|well) | = | :
    ) {_BEGINS}
""")
COMMITTED = _pattern(rf"""[\s"'”’)\]*,]*
    (?:it[ ]is\b | (?:is|was|will[ ]be|would[ ]be)\s+(?:my|the|your)\b[^.!?\n]{{0,25}}?\b{_NOUN}\b | comes?[ ]up\b
    | it[ ]shall[ ]be\b | wins\b)
""")
BOUNDS = _pattern(r"""\s*(?:\b(?:or|and)\s+(?:higher|more|less|lower|above|below|under|over|up|fewer|greater)\b
    | \bis\s+(?:the|a)\s+(?:max|min|upper|lower|largest|smallest|highest|lowest))""")
DECIDES_NOT = _pattern(r"""\b(?:can(?:not|'t)|could(?:\ not|n't))\s+(?:honestly\s+|really\s+)?(?:decide|tell|say|choose)\b[^.!?]*[.!?]?\s*$
    | \btake\s+whichever\b | \bnone\s+of\s+(?:them|these|the)\b""")
LETTER = _pattern(r"\b(?:option|choice|answer|letter|pick|choose|go\ with|select|is)[\s:(\"']*$")
LETTER_SAYS = _pattern(
    r"[ \t]*\n|\s*(?:\Z|[^\sa-z]|(?:is|gives|wins|because|looks|seems|as|since|would|for|it|sounds|and|or|but|then|please)\b)"
)
CORRECTS = _pattern(r"""\b(?:but|actually|final(?:ly)?|instead|no[ ]wait|wait|therefore|thus|hence|so|second[ ](?:thought|look)|change[ ]my
    [ ]mind|in[ ]the[ ]end|hold[ ]on|hmm+|nowadays|rather|correction|scratch[ ]that|let[ ]me[ ](?:try|roll|toss|flip)\b[^.!?]*)\b""")

RETRACTS = _pattern(r"""\b(?:hold[ ]on|no[ ]wait|wait|actually|scratch[ ]that|on[ ]second[ ](?:thoughts?|look)|correction
    |let[ ]me[ ](?:try|roll|toss|flip)\b[^.!?]*\b(?:again|instead)|chang(?:e|ed)[ ]my[ ]mind)\b""")

# --- what takes a value back, or puts it in another's mouth
DENIED = _pattern(r"""
    (?: \b(?:not|never|no|neither|nor|without|except|avoid(?:ing)?|unlike|cannot|excluding|besides|instead[ ]of|rather[ ]than|other[ ]than
        |(?:anything|everything|all|any)[ ]but|opposed[ ]to|more[ ]than|less[ ]than|than|over|above|below|under
        |used[ ]to[ ](?:love|like|say)|hop(?:ed|ing)[ ](?:to|for)|wish(?:ed)?|least[ ]favou?rite(?:[ ]is)?:?|runner-up:?) | n't )
    \s+(?:(?:be|a|an|the|it|is|was|number|just|on|say|pick|choose|as|land|always|and|of|want|to|colou?r|side|roll|get)\s+){0,3}["'“‘(]* $
""")
NUMBERS = _pattern(r"""\b(?:at[ ]least|at[ ]most|up[ ]to|out[ ]of|divided[ ]by|multiplied[ ]by|multiply[ ]by|add(?:ing)?
    |mod|times|steps?|question|example|option|version|part|chapter|page|figure|attempt|try|round
    |bound:?|min(?:imum)?:?|max(?:imum)?:?|take|keep|seed:?|[+*/%^])\s* $""")
REPEATS = _pattern(
    r"(?:^|[.!?\n])\s*(?:please\s+)?(?:choose|pick|select|name|give|generate)\s+(?:\w+\s+){0,4}$"
)  # the question's own words
OTHERS_SAY = _pattern(r"""\b(?:people|most|many|everyone|everybody|humans|others|models|they|folks|friend|mother|father|brother|sister
    |he|she)\b[^.!?\n]{0,40} $""")
UNSURE = _pattern(r"""\b(?:maybe|perhaps|might|could[ ](?:be|have)|possibly|either|whether|if|e\.g\.
    |for[ ](?:example|instance)|such[ ]as|like|imagine|suppose|may[ ]show
    |(?:chances?|probability|odds)[ ]of|likelihood[ ]of|probability[ ]that)\b[^.!?\n]{0,25} $""")
