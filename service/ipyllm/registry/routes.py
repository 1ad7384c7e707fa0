"""Makes routes: ``fallback``, ``pool`` and ``split``. Their arms are services or model names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.registry.models import create_llm_service
from ipyllm.routing.balancing import Pool
from ipyllm.routing.failover import Fallback
from ipyllm.routing.splitting import Split, Sticky
from ipyllm.text.secrets import as_secret, secret_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from ipyllm.services.base import BaseLLMService

__all__ = ["fallback", "pool", "split"]


def fallback(*arms: str | BaseLLMService, name: str = "fallback", **options: Any) -> Fallback:
    """Ask services in order until one answers.

    The next service is asked when one cannot be reached, is too slow, fails, has no calls or credit left, refuses the
    key, lacks the model or has too small a context window. An invalid request, or one that a content filter refused, is
    not sent on; nor is any request once text was shown. Each service makes its own retries first: give all but the last
    ``max_retries=0`` to ask the next one at once. A service that failed three times in a row is asked last for a
    second, then two, four, up to a minute; one that is rate limited, for as long as it says.

    Parameters
    ----------
    *arms : str or BaseLLMService
        Names like ``"openai/gpt-6-luna"``, services, or routes.
    name : str
        Name of the route, also in the tag ``route`` of its rows.
    **options
        ``timeout``, ``max_retries`` and parameters for all of them.

    Examples
    --------
    >>> fallback("openai/gpt-6-luna", "deepseek/deepseek-flash")
    fallback(openai/gpt-6-luna, deepseek/deepseek-flash)
    """
    options = secret_options(options)
    return Fallback(*arms, name=name, resolver=create_llm_service, **options)


def pool(
    *endpoints: str | BaseLLMService,
    model: str | None = None,
    api_key: str | SecretStr | None = None,
    name: str = "pool",
    **options: Any,
) -> Pool:
    """Serve one model from several endpoints: each call goes to the least busy healthy endpoint.

    An endpoint that failed three times in a row (no connection, time-out, HTTP 5xx) is left out for a second, then two,
    four, up to a minute; after each pause a single call tries it. A ``Retry-After`` leaves it out until then. A call
    that fails before any text came goes to another endpoint at once; its ``max_retries`` apply when no other is left.

    Parameters
    ----------
    *endpoints : str or BaseLLMService
        Addresses up to and with ``/v1``, names like ``"lab/llama"``, or services. Change them at any time with ``add``,
        ``drain`` and ``adrain``.
    model : str, optional
        The model that the addresses serve.
    api_key : str or SecretStr, optional
        Key for the addresses. A provider's key from the settings is never sent there.
    name : str
        Name of the pool: the ``service`` of its rows and their tag ``route``. The tag ``arm`` holds the host.
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
    api_key = as_secret(api_key)
    return Pool(*endpoints, model=model, api_key=api_key, name=name, resolver=create_llm_service, **options)


def split(
    weights: Mapping[str, float] | Mapping[BaseLLMService, float] | Mapping[str | BaseLLMService, float],
    *,
    seed: int | None = None,
    sticky: Sticky = "conversation",
    name: str = "split",
    **options: Any,
) -> Split:
    """Send each service a share of the calls, to compare services in real use.

    Parameters
    ----------
    weights : mapping of str or BaseLLMService to float
        The shares; any positive numbers.
    seed : int, optional
        Seed of the assignment. With ``sticky=None`` and no seed, the assignment differs each time.
    sticky : {"conversation", "call", None}
        ``"conversation"``: a conversation keeps its arm, also after a restart; other calls are assigned at random.
        ``"call"``: the same prompt with the same parameters always gets the same arm. None: every call at random.
    name : str
        Name of the route, also in the tag ``route`` of its rows; the tag ``arm`` holds the arm.
    **options
        ``timeout``, ``max_retries`` and parameters for all of them.

    Examples
    --------
    >>> ab = split({"openai/gpt-6-luna": 0.9, "deepseek/deepseek-flash": 0.1}, seed=7)
    >>> ab.arm_of("my conversation") == ab.arm_of("my conversation")
    True
    """
    options = secret_options(options)
    return Split(weights, seed=seed, sticky=sticky, name=name, resolver=create_llm_service, **options)
