"""Makes routes: ``fallback``, ``pool`` and ``split``. Their arms are services or model names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.registry.models import create_llm_service
from ipyllm.routing.balancing import Pool
from ipyllm.routing.failover import Fallback
from ipyllm.routing.splitting import Split, Sticky

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.services.base import BaseLLMService

__all__ = ["fallback", "pool", "split"]


def fallback(*arms: str | BaseLLMService, name: str = "fallback", **options: Any) -> Fallback:
    """Ask the first service; when it fails in a way that the next may not, ask that.

    A service that cannot be reached, is too slow, fails, is out of calls or credit, refuses the key, lacks the model or
    has too small a context window is followed by the next; a request that is wrong in itself, or that a content filter
    refused, is not sent on. Nor is anything once text of an answer was shown. Each service makes its own retries first:
    give those before the last ``max_retries=0`` to have the next one asked at once. One that failed three times in a
    row is asked last for a second, then two, four, up to a minute; one that is out of calls, for as long as it says.

    Parameters
    ----------
    *arms : str or BaseLLMService
        Names like ``"openai/gpt-5-mini"``, services, or routes.
    name : str
        What to call it, in the tag ``route`` of its rows too.
    **options
        ``timeout``, ``max_retries`` and parameters for all of them.

    Examples
    --------
    >>> fallback("openai/gpt-5-mini", "deepseek/deepseek-chat")
    fallback(openai/gpt-5-mini, deepseek/deepseek-chat)
    """
    return Fallback(*arms, name=name, resolver=create_llm_service, **options)


def pool(
    *endpoints: str | BaseLLMService,
    model: str | None = None,
    api_key: str | None = None,
    name: str = "pool",
    **options: Any,
) -> Pool:
    """Serve one model from several endpoints: each call goes to the least busy of those that are well.

    An endpoint that failed three times in a row (no connection, no answer in time, HTTP 5xx) is left out for a second,
    then two, four, up to a minute; after each the next call tries it, alone. One that names a time with "too many
    requests" is left out until then. A call that fails there before any text came goes to another endpoint at once; its
    ``max_retries`` begin when there is no other left.

    Parameters
    ----------
    *endpoints : str or BaseLLMService
        Addresses up to and with ``/v1``, names like ``"lab/llama"``, or services. More with ``add``, fewer with
        ``drain`` and ``adrain``, at any time.
    model : str, optional
        What the addresses serve.
    api_key : str, optional
        Key for the addresses; a provider's key from the settings is never sent there.
    name : str
        What to call it: the ``service`` of its rows, and their tag ``route``. The tag ``arm`` has the host.
    **options
        ``timeout``, ``max_retries`` and parameters for every call.

    Examples
    --------
    >>> gpus = pool("http://h1:8000/v1", model="llama-3.1-8b", name="gpus")
    >>> gpus.add("http://h2:8000/v1")
    >>> gpus.drain("http://h1:8000/v1")
    >>> [endpoint.url for endpoint in gpus.endpoints]
    ['http://h2:8000/v1']
    """
    return Pool(*endpoints, model=model, api_key=api_key, name=name, resolver=create_llm_service, **options)


def split(
    weights: Mapping[str, float] | Mapping[BaseLLMService, float] | Mapping[str | BaseLLMService, float],
    *,
    seed: int | None = None,
    sticky: Sticky = "conversation",
    name: str = "split",
    **options: Any,
) -> Split:
    """Send each service its share of the calls, to compare them in real use.

    Parameters
    ----------
    weights : mapping of str or BaseLLMService to float
        The shares; they need not add up to 1.
    seed : int, optional
        Another seed is another assignment. With ``sticky=None`` and no seed, the draw is different each time.
    sticky : {"conversation", "call", None}
        ``"conversation"``: a conversation stays with its arm, after a restart too; calls that belong to none are
        drawn. ``"call"``: the same question with the same parameters always goes to the same arm. None: every call
        is drawn.
    name : str
        What to call it, in the tag ``route`` of its rows too; the tag ``arm`` has the arm.
    **options
        ``timeout``, ``max_retries`` and parameters for all of them.

    Examples
    --------
    >>> ab = split({"openai/gpt-5-mini": 0.9, "deepseek/deepseek-chat": 0.1}, seed=7)
    >>> ab.arm_of("my conversation") == ab.arm_of("my conversation")
    True
    """
    return Split(weights, seed=seed, sticky=sticky, name=name, resolver=create_llm_service, **options)
