"""Models: found by name, asked over HTTP, retried, limited, cached, metered. And scripted ones, for use offline."""

from benchhost.models.breaker import Breaker
from benchhost.models.budget import TimeBudget
from benchhost.models.cache import Cached
from benchhost.models.concurrency import Limiter
from benchhost.models.location import Location, key_variables, locate
from benchhost.models.meter import Metered, Spend
from benchhost.models.prices import Price, PriceTable, load_prices
from benchhost.models.providers import PROVIDERS, Provider
from benchhost.models.resilient import Resilient
from benchhost.models.resolution import MODELS, for_one_question, resolve
from benchhost.models.retry import RetryPolicy

__all__ = [
    "MODELS",
    "PROVIDERS",
    "Breaker",
    "Cached",
    "Limiter",
    "Location",
    "Metered",
    "Price",
    "PriceTable",
    "Provider",
    "Resilient",
    "RetryPolicy",
    "Spend",
    "TimeBudget",
    "for_one_question",
    "key_variables",
    "load_prices",
    "locate",
    "resolve",
]
