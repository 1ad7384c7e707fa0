"""Small images of one colour: as a picture, as a file, and as a figure."""

from __future__ import annotations

import io

from PIL import Image


def picture(colour="teal"):
    return Image.new("RGB", (4, 3), colour)


def png(colour="teal"):
    held = io.BytesIO()
    picture(colour).save(held, format="PNG")
    return held.getvalue()


def figure():
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(1, 1))
    drawn.subplots().plot([1, 2])
    return drawn
