"""ipyllm: compare language models where your data already is, in the notebook.

``%load_ext ipyllm`` in a notebook, or ``from ipyllm import OllamaService`` anywhere. Nothing heavy is imported
before it is used.
"""

import lazy_loader

from ipyllm.mapping.accessor import register_when_imported

register_when_imported()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
