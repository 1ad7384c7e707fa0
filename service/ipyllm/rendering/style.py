"""Style sheet of answers, in the colours of the notebook's theme.

Every colour of text is VS Code's, then JupyterLab's (Notebook 7 and nbconvert's HTML have the same variables), then
one for light and one for dark pages. VS Code's come first because its notebooks load the style sheet of ipywidgets, in
which JupyterLab's variables are those of a light page, whatever the theme. Lines are of a grey that both show. It
fetches nothing: no ``url()``, no ``@import``, no fonts.
"""

from __future__ import annotations

__all__ = ["CSS", "STYLE"]

CSS = """\
.ipyllm-answer.ipyllm-answer{overflow-wrap:break-word;line-height:1.5;
:is(p,ul,ol,pre,table,blockquote){margin:0 0 .7em}
li>:is(ul,ol,p){margin:0 0 .2em}
:is(h1,h2,h3,h4,h5,h6){font-weight:600;font-size:1em;line-height:1.3;margin:.9em 0 .4em}
h1{font-size:1.45em}
h2{font-size:1.25em}
h3{font-size:1.1em}
:is(pre,code){color:inherit;font-family:var(--vscode-editor-font-family,var(--jp-code-font-family,monospace));font-size:.93em;
background:var(--vscode-textCodeBlock-background,var(--jp-cell-editor-background,#8881))}
code{padding:.1em .3em;border-radius:3px;white-space:pre-wrap}
pre{padding:.6em .8em;border:1px solid #8885;border-radius:4px;overflow-x:auto;line-height:1.4;
white-space:pre;word-break:normal}
pre code{padding:0;background:none;font-size:1em;white-space:pre;overflow-wrap:normal}
table{display:block;width:max-content;max-width:100%;overflow-x:auto;border-collapse:collapse;font-size:1em}
:is(th,td){padding:.3em .7em;border:1px solid #8885;text-align:start;white-space:normal}
@supports (animation-timeline:scroll(self inline)){
:is(pre,table){animation:ipyllm-more linear both;animation-timeline:scroll(self inline)}
}
blockquote{padding:0 1em;border-inline-start:3px solid #8888;
color:var(--vscode-foreground,var(--jp-content-font-color2))}
img{max-width:100%}
.ipyllm-math{display:block;overflow:auto hidden;padding:.2em 0}
math{font-family:"Latin Modern Math","STIX Two Math","Cambria Math","DejaVu Math TeX Gyre",math}
mtd[columnalign=left]{text-align:left}
mtd[columnalign=right]{text-align:right}
.k{color:var(--vscode-debugTokenExpression-name,var(--jp-mirror-editor-keyword-color,light-dark(#008000,#6cbf6c)));
font-weight:600}
.s{color:var(--vscode-debugTokenExpression-string,var(--jp-mirror-editor-string-color,light-dark(#ba2121,#e59a8c)))}
.m{color:color-mix(in srgb,currentColor 15%,
var(--vscode-debugTokenExpression-number,var(--jp-mirror-editor-number-color,light-dark(#070,#6cbf6c))))}
.c{color:var(--vscode-descriptionForeground,var(--jp-mirror-editor-comment-color,light-dark(#376e6e,#85b8b8)));
font-style:italic}
.o{color:var(--jp-mirror-editor-operator-color)}
.nf{color:color-mix(in srgb,currentColor 15%,
var(--vscode-debugTokenExpression-boolean,var(--jp-mirror-editor-def-color,light-dark(#00f,#8ab4f8))))}
.nb{color:var(--jp-mirror-editor-builtin-color)}
.nd{color:var(--jp-mirror-editor-meta-color)}
.nt{color:var(--jp-mirror-editor-tag-color)}
.na{color:var(--jp-mirror-editor-attribute-color)}
.nv{color:var(--jp-mirror-editor-variable-2-color)}
.gd{color:var(--vscode-charts-red,var(--jp-error-color1,light-dark(#b22,#f28b82)))}
.gi{color:var(--vscode-charts-green,var(--jp-success-color1,light-dark(#272,#81c995)))}
}
.ipyllm-footer{margin-top:.3em;font-size:.8em;
color:var(--vscode-descriptionForeground,var(--jp-content-font-color2,light-dark(#666,#aaa)))}
:is(.jp-OutputArea-child,.output_container):has(.ipyllm-empty){display:none}
.ipyllm-reasoning{margin:.2em 0 .6em;padding-inline-start:.8em;
border-inline-start:3px solid #8888;
color:var(--vscode-descriptionForeground,var(--jp-content-font-color2))}
.ipyllm-reasoning>summary{cursor:pointer;font-size:.85em}
.ipyllm-answer.ipyllm-answer pre.ipyllm-text{white-space:pre-wrap;overflow-wrap:anywhere;
padding:0;border:0;background:none}
.ipyllm-page{display:block;width:100%;min-height:8em;resize:vertical;overflow:auto;background:#fff;
border:1px solid #8885;border-radius:4px}
.ipyllm-waiting{opacity:.7;animation:ipyllm-pulse 1.6s ease-in-out infinite}
@keyframes ipyllm-more{0%,95%{mask-image:linear-gradient(to right,#000 calc(100% - 2.5em),#0003)}100%{mask-image:none}}
@keyframes ipyllm-pulse{50%{opacity:.25}}
@media (prefers-reduced-motion:reduce){.ipyllm-waiting{animation:none}}
"""
"""Rules are nested in the answer's class, so that ``.k`` or ``td`` elsewhere stays as it is; the class is doubled
to weigh as much as JupyterLab's rules for outputs. A little of the text's colour is mixed into those of VS Code that
are too near to its own ground for code."""

STYLE = f"<style>\n{CSS}</style>"
"""The style sheet as an element, to stand once before the answers of an output."""
