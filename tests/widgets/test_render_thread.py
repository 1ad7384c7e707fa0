"""The render thread: no change is lost, failures are shown, and it respects its budget."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from ipyllm_widgets import render_thread
from ipyllm_widgets.render_thread import RenderThread


def test_news_that_come_as_the_thread_ends_for_idleness_are_drawn_all_the_same(monkeypatch):
    monkeypatch.setattr(render_thread, "_IDLE_S", 0.0)
    drawn = threading.Event()

    def draw():
        drawn.set()
        return 0

    drawing = RenderThread(draw, lambda exc: None)
    for _ in range(3000):
        drawn.clear()
        drawing.wake()
        assert drawn.wait(60)


def test_what_drawing_raised_is_told_and_the_next_news_are_drawn():
    errors, drawn = [], threading.Event()

    def draw():
        if not errors:
            raise ValueError("once")
        drawn.set()
        return 0

    drawing = RenderThread(draw, errors.append)
    drawing.wake()
    while not errors:
        time.sleep(0.01)
    drawing.wake()
    assert drawn.wait(60)
    assert str(errors[0]) == "once"


def test_many_news_become_few_drawings_at_least_a_twentieth_of_a_second_apart():
    at = []

    def draw():
        at.append(time.monotonic())
        return 100

    drawing = RenderThread(draw, lambda exc: None)
    woken = 0
    while len(at) < 10:
        drawing.wake()
        woken += 1
        time.sleep(0.001)
    assert woken > 10
    assert min(after - before for before, after in pairwise(at)) >= 0.049
