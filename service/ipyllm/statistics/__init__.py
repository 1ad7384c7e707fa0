"""Statistics of comparisons: tables with conclusions in plain words, and the functions they are made of.

The tables are :func:`summarise_arms`, :func:`paired` and :func:`ranking`. numpy, scipy and pandas load on first use.
The modules that make tables import pandas: load them late.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
