"""Makes a method that runs a call look like the call it runs: its name, its documentation, its arguments."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from scrip.calls.change import Change, Reasoned, Signed, said
from scrip.calls.offers import Offer, offered
from scrip.calls.reads import Entries, asked

Method = TypeVar("Method", bound=Callable[..., Any])

_GROUPS: Mapping[type, Callable[..., Any]] = {
    Change: said,
    Reasoned: said,
    Signed: said,
    Entries: asked,
    Offer: offered,
}
"""Groups of keywords that calls share, each with the function that takes them and has their defaults."""

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def described_by(
    make: Callable[..., Any], *, bound: int = 0, answers: Callable[[Any], Any] = lambda answer: answer
) -> Callable[[Method], Method]:
    """Give a method the name and documentation of `make`, and its signature with `self` in front.

    make      returns a Call, Steps or Pages of some type
    bound     how many of its first arguments the method itself gives
    answers   what the method makes of that type, such as an Iterator of it
    """
    signature = inspect.signature(make)
    taken = _spelled_out(signature)[bound:]
    # Call[Answer], Generator[..., Answer], Pages[Item]: what is answered stands last.
    answer = answers(get_args(signature.return_annotation)[-1])

    def describe(method: Method) -> Method:
        method.__name__ = make.__name__
        method.__qualname__ = make.__name__
        method.__doc__ = make.__doc__
        method.__annotations__ = {parameter.name: parameter.annotation for parameter in taken} | {"return": answer}
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[_SELF, *taken], return_annotation=answer
        )
        return method

    return describe


def _spelled_out(signature: inspect.Signature) -> list[inspect.Parameter]:
    """List the parameters, with those of a group in its place."""
    parameters = list(signature.parameters.values())
    if not parameters or parameters[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return parameters
    *own, group = parameters
    (named,) = get_args(group.annotation)
    return [
        *own,
        *(
            keyword.replace(default=keyword.empty) if keyword.name in named.__required_keys__ else keyword
            for keyword in inspect.signature(_GROUPS[named]).parameters.values()
        ),
    ]
