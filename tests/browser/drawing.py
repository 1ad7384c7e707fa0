"""Scripts that time drawing in a page, each from the change to its layout, in milliseconds."""

__all__ = ["DRAW", "SLIDE"]

DRAW = """html => {
    const main = document.querySelector("main"), start = performance.now();
    main.innerHTML = html;
    main.getBoundingClientRect();
    return performance.now() - start;
}"""
"""Replaces the content of the page's ``main``."""

SLIDE = """n => {
    const slider = document.querySelector("input[type=range]"), times = [];
    for (let step = 0; step < n; step++) {
        slider.value = 0.3 + 1.6 * step / n;
        const start = performance.now();
        slider.dispatchEvent(new Event("input"));
        document.body.getBoundingClientRect();
        times.push(performance.now() - start);
    }
    return times;
}"""
"""Moves the first slider of a page to n places."""
