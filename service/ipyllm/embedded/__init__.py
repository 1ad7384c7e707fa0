"""Models that run on this machine without key, account or cloud: pulled once, then served by llama.cpp on loopback.

:mod:`~ipyllm.embedded.catalogue` knows which models there are and where they lie, :mod:`~ipyllm.embedded.pull`
fetches them, :mod:`~ipyllm.embedded.server` runs them and gives the address that the wire speaks to.
"""

from ipyllm.embedded.catalogue import CATALOGUE, CatalogueEntry, catalogue_names, find, models_dir, resolve
from ipyllm.embedded.pull import pull, pull_with_progress
from ipyllm.embedded.server import EmbeddedServer, get, is_running, start, stop_all

__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "EmbeddedServer",
    "catalogue_names",
    "find",
    "get",
    "is_running",
    "models_dir",
    "pull",
    "pull_with_progress",
    "resolve",
    "start",
    "stop_all",
]
