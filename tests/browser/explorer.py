"""Page object of the explorer, in a widget or a page."""

from __future__ import annotations


class Explorer:
    """What is shown, and the keyboard."""

    def __init__(self, root, page):
        self.root = root
        self.page = page
        self.grid = root.locator(".ipyllm-xgrid")
        self.active = root.locator(".ipyllm-xrow.active")
        self.answers = root.locator(".ipyllm-xdetails article")
        self.details = root.locator(".ipyllm-xdetails")
        self.status = root.locator(".ipyllm-xstatus")
        self.search = root.get_by_label("Search", exact=True)

    def press(self, *keys):
        """Press keys with the focus on the rows."""
        self.grid.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def filter(self, key):
        return self.root.locator(f'[data-filter="{key}"]')

    def shown(self):
        """The numbers of the rows within sight, from 1, in their order, when all are there."""
        self.root.locator(".ipyllm-xgrid:not([aria-busy])").wait_for()
        return self.root.locator(".ipyllm-xspace > .ipyllm-xrow").evaluate_all(
            """rows => rows.sort((a, b) => a.dataset.place - b.dataset.place)
                .map(row => Number(row.querySelector('.ipyllm-xline span:nth-child(2)').textContent))"""
        )
