"""What a comparison of models comes to, and how sure it is.

Tables (:func:`summarise_arms`, :func:`paired`, :func:`ranking`) carry a conclusion in plain words; below them stand the
functions they are made of. numpy, scipy and pandas load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
