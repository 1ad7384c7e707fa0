"""The browser's front end: chat, comparison and dashboard, over the service layer ``ipyllm``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
