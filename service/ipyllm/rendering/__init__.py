"""Rendering of a model's answer, which is untrusted, for notebooks, widgets, exports and terminals.

Front ends draw answers only through this package. Its names load on first use, because the parser, the highlighter and
the sanitiser take a tenth of a second to import.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
