"""Models that run on this machine without key, account or cloud: pulled once, then served by llama.cpp on loopback.

:mod:`~ipyllm.embedded.catalogue` lists the models and finds their files, :mod:`~ipyllm.embedded.pull` downloads them,
:mod:`~ipyllm.embedded.server` runs them.
"""

from ipyllm.embedded.catalogue import CATALOGUE, CatalogueEntry, catalogue_names, find, models_dir, resolve
from ipyllm.embedded.engine import check_installed, is_installed
from ipyllm.embedded.pull import pull, pull_with_progress
from ipyllm.embedded.server import EmbeddedServer, get, is_running, start, stop_all

__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "EmbeddedServer",
    "catalogue_names",
    "check_installed",
    "find",
    "get",
    "is_installed",
    "is_running",
    "models_dir",
    "pull",
    "pull_with_progress",
    "resolve",
    "start",
    "stop_all",
]
