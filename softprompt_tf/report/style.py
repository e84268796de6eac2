"""The report's style sheet: light and dark, a phone's width, paper. Names of colours are used by the plots too."""

# Okabe and Ito's palette, which all kinds of colour vision tell apart; on a dark page the dark ones are lightened.
LIGHT = ("#0072b2", "#d55e00", "#007a5a", "#a8497f", "#8a6100", "#444444", "#56b4e9")
DARK = ("#5ab4e5", "#ff8f3d", "#2fc79b", "#e38fbd", "#e9b13a", "#c8c8c8", "#8f9bff")


def _variables(colours: tuple[str, ...]) -> str:
    return "".join(f"--series-{index}:{colour};" for index, colour in enumerate(colours))


STYLE = f"""
:root{{color-scheme:light dark;--page:#fff;--ink:#1b1b1b;--soft:#5a5a5a;--line:#c9c9c9;--band:#f3f4f6;{_variables(LIGHT)}}}
@media(prefers-color-scheme:dark){{:root{{--page:#15171a;--ink:#ececec;--soft:#a9adb3;--line:#41464d;--band:#1f2226;
{_variables(DARK)}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1rem;max-width:60rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}}
h1{{font-size:1.6rem;line-height:1.25;margin:.5rem 0}}h2{{font-size:1.25rem;margin:2.2rem 0 .4rem;
border-top:1px solid var(--line);padding-top:1.2rem}}h3{{font-size:1.05rem;margin:1.4rem 0 .3rem}}
p{{margin:.4rem 0;max-width:44rem}}
.soft,caption,figcaption,.n{{color:var(--soft)}}
.n{{display:block;font-size:.78rem;white-space:nowrap}}
nav ul{{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;padding:0;list-style:none}}
a{{color:var(--series-0)}}
.scroll{{overflow-x:auto;margin:.8rem 0}}.scroll:focus-visible{{outline:2px solid var(--series-0)}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums;overflow-wrap:normal}}
caption{{text-align:left;font-size:.85rem;padding:.2rem 0}}
th,td{{padding:.3rem .6rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line)}}
th:first-child{{min-width:7rem;text-align:left}}
thead th{{background:var(--band)}}tbody th{{font-weight:500}}
td{{white-space:nowrap}}td.long{{white-space:normal;text-align:left;min-width:14rem}}
figure{{margin:1rem 0}}figure svg{{width:100%;max-width:40rem;height:auto;display:block}}
figcaption{{font-size:.85rem}}
details{{margin:.6rem 0}}summary{{cursor:pointer;padding:.3rem 0}}
pre{{overflow-x:auto;background:var(--band);padding:.7rem;font-size:.8rem;line-height:1.35}}
@media(max-width:30rem){{table{{font-size:.88rem}}th,td{{padding:.25rem .4rem}}th:first-child{{min-width:5.5rem}}}}
@media print{{:root{{--page:#fff;--ink:#000;--soft:#444;--line:#999;--band:#f3f4f6;{_variables(LIGHT)}}}
body{{max-width:none;font-size:10pt}}figure,tr{{break-inside:avoid}}h2,h3{{break-after:avoid}}nav{{display:none}}
.scroll{{overflow:visible}}pre{{white-space:pre-wrap}}}}
"""
