"""Plots of a comparison, by matplotlib (extra ``plots``).

Every function returns its Axes (:func:`overview` its Figure), and takes these parameters besides its own:

calls : DataFrame, or anything that has one as ``.calls``
    As in :func:`ipyllm.statistics.summarise_arms`. Calls that do not count in latency statistics are left out of times.
level : float
    Confidence of the intervals.
sort : {"value"}, optional
    Arms by their value, the best first (the highest, where neither is better). By default they stand in the order of
    the call.
ax : Axes, optional
    Where to draw; by default in a new figure with a legend.
dark : bool, optional
    Dark or light background; by default as matplotlib is set.

An arm has the same colour, marker and line in all plots. matplotlib loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
