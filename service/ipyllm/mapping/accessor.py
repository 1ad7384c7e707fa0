"""The accessor ``.llm`` of DataFrames and Series, of pandas and polars.

It is registered when these libraries are imported, or at once if they are: see :func:`register_when_imported`.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["LLMAccessor", "register_when_imported"]

_NAME: Final = "llm"


class LLMAccessor:
    """Asks a model about the rows of a DataFrame or Series: ``df.llm.classify("…", labels=[…])``.

    Options of its methods are those of :func:`ipyllm.llm_map`.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def map(self, template: str | None = None, **options: Any) -> Any:
        """Return the answer to each row's prompt, as a Series."""
        return _llm_map(self._data, template, options)

    def classify(self, template: str | None = None, *, labels: Iterable[str], **options: Any) -> Any:
        """Return the label of each row, as a categorical Series."""
        return _llm_map(self._data, template, {"labels": labels, **options})

    def extract(self, template: str | None = None, *, schema: Any, **options: Any) -> Any:
        """Return what a schema describes, from each row, as a DataFrame of its fields."""
        return _llm_map(self._data, template, {"schema": schema, **options})

    def errors(self) -> Any:
        """Return the rows of this result of ``llm_map`` that have no answer, with the reasons.

        Returns
        -------
        DataFrame
            ``row`` (number in the input), ``category`` (as of :class:`~ipyllm.LLMError`, or ``no_prompt``) and
            ``message``; in pandas with the index of these rows.

        Raises
        ------
        LLMError
            ``bad_request``: it is not a result of ``llm_map``.
        """
        from ipyllm.mapping.reasons import errors_of

        return errors_of(self._data)


def _llm_map(data: Any, template: str | None, options: dict[str, Any]) -> Any:
    from ipyllm.mapping.llm_map import llm_map

    return llm_map(data, template, **options)


def register_when_imported() -> None:
    """Register the accessor with pandas and polars: now, or when they are imported."""
    for name in _REGISTER:
        if name in sys.modules:
            _register(name)
        elif not any(isinstance(finder, _Finder) and finder.library == name for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder(name))


def _register(library: str) -> None:
    module = sys.modules[library]
    for kind in (getattr(module, "DataFrame", None), getattr(module, "Series", None)):
        if kind is not None and not hasattr(kind, _NAME):
            _REGISTER[library](kind)


def _register_pandas(kind: Any) -> None:
    from pandas.api.extensions import register_dataframe_accessor, register_series_accessor

    register = register_dataframe_accessor if kind.__name__ == "DataFrame" else register_series_accessor
    register(_NAME)(LLMAccessor)


def _register_polars(kind: Any) -> None:
    from polars.api import register_dataframe_namespace, register_series_namespace

    register = register_dataframe_namespace if kind.__name__ == "DataFrame" else register_series_namespace
    register(_NAME)(LLMAccessor)


_REGISTER: Final = {"pandas": _register_pandas, "polars": _register_polars}


class _Finder(MetaPathFinder):
    """Finds one library, once, as Python would without it, and registers the accessor when it has been loaded."""

    def __init__(self, library: str) -> None:
        self.library = library

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the library."""
        if fullname != self.library:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(Loader):
    """Loads a module with its own loader, and registers the accessor."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Load the module and register the accessor."""
        spec = module.__spec__
        assert spec is not None
        module.__loader__ = spec.loader = self._loader
        self._loader.exec_module(module)
        _register(module.__name__)
