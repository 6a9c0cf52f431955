"""What a page may ask, with the limits of it. Nothing else is read from a request."""

import json
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raterhf.errors import UserError

MOST_BYTES = 2**20  # of a request's body
LONGEST = 8000  # characters of a text
MOST_PEOPLE = 64
MOST_TOKENS = 512  # of a begun text
MOST_ANSWERS = 12  # that a jury compares
MOST_LABELS = 50

Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Spec = Annotated[str, Field(min_length=1, max_length=2000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
People = Annotated[int, Field(ge=1, le=MOST_PEOPLE)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Projection = Literal["pca", "umap"]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AskedAbout(Asked):
    pass


class AskedMap(Asked):
    by: Projection = "pca"


class AskedAnswers(Asked):
    """`n` fresh people, or so many answers of one."""

    prompt: Text
    rater: Spec = "new"
    n: People = 12
    seed: Seed = 0


class AskedPerson(Asked):
    rater: Spec
    seed: Seed = 0
    by: Projection = "pca"


class AskedPath(Asked):
    a: Spec
    b: Spec
    by: Projection = "pca"


class AskedText(Asked):
    """A begun text, token by token or in words. `voice` is `everyone`, `vanilla` or one rater; `everyone` are n fresh people."""

    prompt: Text
    said: list[Token] = Field(default=[], max_length=MOST_TOKENS)
    text: str = Field(default="", max_length=LONGEST)
    voice: Spec = "everyone"
    n: People = 16
    seed: Seed = 0


class AskedTree(AskedText):
    least: float = Field(default=0.02, ge=0.002, le=0.5)


class AskedJury(Asked):
    prompt: Text
    answers: list[Text] = Field(min_length=2, max_length=MOST_ANSWERS)
    n: Annotated[int, Field(ge=2, le=256)] = 64
    raters: Literal["new", "all"] = "new"
    seed: Seed = 0


class Label(Asked):
    """1: a, -1: b, 0: neither."""

    prompt: Text | list[dict]
    a: Text
    b: Text
    label: Literal[1, 0, -1]


class AskedYou(Asked):
    labels: list[Label] = Field(default=[], max_length=MOST_LABELS)
    seed: Seed = 0


Kind = TypeVar("Kind", bound=Asked)


def read_asked(body: bytes, kind: type[Kind]) -> Kind:
    """Raises UserError, in one sentence, for a body that does not ask this."""
    try:
        return kind.model_validate(json.loads(body or b"{}"))
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise UserError("the request is no JSON; reload the page") from error
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the request"
        raise UserError(f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}; change it and ask again") from error
