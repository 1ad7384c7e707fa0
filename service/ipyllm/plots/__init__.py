"""Pictures of a comparison, by matplotlib (extra ``plots``), each returning its Axes.

Every arm keeps its colour, marker and line in all of them. They follow matplotlib's settings, or ``dark=True`` and
``dark=False``. matplotlib loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
