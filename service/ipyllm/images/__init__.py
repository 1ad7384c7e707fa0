"""Images that people have (files, addresses, bytes, pictures, figures, arrays) as parts of a message."""

from __future__ import annotations

from ipyllm.images.attachment import MAX_BYTES, SUFFIXES, image_part, is_address, is_image

__all__ = ["MAX_BYTES", "SUFFIXES", "image_part", "is_address", "is_image"]
