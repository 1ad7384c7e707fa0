"""The contrast of the texts that a page shows, by WCAG 2.2, 1.4.3.

Not by axe-core: within JupyterLab it examines the texts of inputs only.
"""

from __future__ import annotations

_TEXTS = """selector => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const over = ([red, green, blue, alpha], below) =>
        [red, green, blue].map((value, index) => value * alpha + below[index] * (1 - alpha));
    const ancestors = element => {
        const found = [];
        for (; element; element = element.parentElement) found.push(element);
        return found;
    };
    const backdrop = element => ancestors(element).reverse().reduce(
        (below, each) => over(rgba(getComputedStyle(each).backgroundColor), below), [255, 255, 255]);
    const luminance = colour => {
        const [red, green, blue] = colour.map(value => value / 255).map(
            value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const contrast = (one, other) => {
        const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
        return (light + 0.05) / (dark + 0.05);
    };
    const texts = [];
    for (const root of document.querySelectorAll(selector)) {
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
            if (!text || element.closest('style, script, option, :disabled')) continue;
            const box = element.getBoundingClientRect(), style = getComputedStyle(element);
            const opacity = ancestors(element).reduce((all, each) => all * getComputedStyle(each).opacity, 1);
            if (!opacity || box.width <= 1 || !element.checkVisibility({visibilityProperty: true})) continue;
            const [red, green, blue, alpha] = rgba(style.color), below = backdrop(element);
            const size = parseFloat(style.fontSize);
            texts.push({
                text: text.slice(0, 200),
                element: `${element.localName}.${element.className}`,
                contrast: contrast(over([red, green, blue, alpha * opacity], below), below),
                least: size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5,
            });
        }
    }
    return texts;
}"""


def shown_texts(page, selector):
    """Return the visible texts in what the selector finds: dicts with the contrast, and the least that it should be."""
    return page.evaluate(_TEXTS, selector)
