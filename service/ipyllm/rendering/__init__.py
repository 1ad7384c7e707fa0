"""From a model's answer, which is untrusted, to what a notebook, widget, export or terminal may show.

Everything a front end draws of an answer passes here. The names below load on first use, because the parser,
the highlighter and the sanitiser behind them take a tenth of a second to import.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
