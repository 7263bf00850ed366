"""The style sheet of the pages: light and dark, phone and desktop, print."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --panel: #ffffff; --ink: #1d1f24; --quiet: #5d626d; --line: #e2e2dc; --soft: #f1f1ed;
  --good: #14713f; --level: #2a4f9b; --bad: #b3261e;
  --c0: #0b62a8; --c1: #c2500c; --c2: #0a8562; --c3: #a6548a; --c4: #b8860b; --c5: #4a9cc9; --rest: #9aa0aa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131519; --panel: #1b1e24; --ink: #e9eaee; --quiet: #a2a8b4; --line: #31353d; --soft: #23272e;
    --good: #5ccb8f; --level: #8db4ff; --bad: #ff8d82;
    --c0: #62b0f0; --c1: #f08a4b; --c2: #3cc79c; --c3: #dd94c4; --c4: #e0b340; --c5: #9bd0ee; --rest: #7c838f;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.25rem; }
h1 { font-size: 1.05rem; font-weight: 600; color: var(--quiet); margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .35rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: inherit; text-underline-offset: .2em; text-decoration-color: var(--rest); }
a:focus-visible, summary:focus-visible, .wide:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
small { color: var(--quiet); }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
table code { overflow-wrap: normal; white-space: nowrap; }
.note { color: var(--quiet); font-size: .9rem; }
.verdict h2 { font-size: clamp(1.6rem, 4.5vw, 2.3rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .6rem; }
.verdict.better h2 { color: var(--good); }
.verdict.level h2 { color: var(--level); }
.verdict.below h2 { color: var(--bad); }
nav { margin: 1.75rem 0 0; padding: .7rem 0; border-block: 1px solid var(--line); font-size: .9rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.15rem; list-style: none; margin: 0; padding: 0; }
nav a { color: var(--quiet); text-decoration: none; }
nav a:hover { color: var(--ink); text-decoration: underline; }
section { background: var(--panel); border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem 1.5rem;
  margin: 1.25rem 0; scroll-margin-top: 1rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 1px; margin: 1.5rem 0 0;
  background: var(--line); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
.tiles div { background: var(--panel); padding: .8rem 1rem; flex: 1 1 9rem; }
section .tiles div { background: var(--soft); }
dt { color: var(--quiet); font-size: .82rem; }
dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
dd small { display: block; font-size: .8rem; font-weight: 400; line-height: 1.35; }
.wide { overflow-x: auto; margin: .6rem 0 0; max-width: 100%; }
table { border-collapse: collapse; font-size: .88rem; min-width: min(100%, 24rem); }
th, td { text-align: left; padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; vertical-align: bottom; min-width: 4.5rem; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
th.n, td.n { text-align: right; padding: .38rem 0 .38rem .9rem; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
thead th.n { white-space: normal; }
tr.own > * { font-weight: 700; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--quiet); font-size: .9rem; width: fit-content; }
summary:hover { color: var(--ink); }
.rows { display: grid; grid-template-columns: minmax(6.5rem, max-content) 1fr max-content; gap: .3rem .9rem;
  align-items: center; margin: .9rem 0 .4rem; font-size: .88rem; }
.rows.groups { grid-template-columns: minmax(6.5rem, max-content) 1fr; gap: .75rem .9rem; }
.row { display: contents; }
.rows .label { overflow-wrap: anywhere; line-height: 1.3; }
.rows .label small { display: block; }
.rows .value { font-variant-numeric: tabular-nums; white-space: nowrap; text-align: right; }
.rows svg { background: var(--soft); border-radius: 4px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.4rem 1.75rem;
  margin-top: .9rem; }
.charts > * { min-width: 0; }
figure { margin: 0; max-width: 30rem; }
figcaption { font-size: .85rem; color: var(--quiet); margin-bottom: .3rem; }
svg text { font-size: 11px; fill: var(--quiet); font-family: inherit; }
.grid { stroke: var(--line); stroke-width: 1; }
.mark { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 3 3; }
.ruled { stroke: var(--panel); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.scale { position: relative; height: 1.2rem; font-size: .75rem; color: var(--quiet); }
.scale span { position: absolute; transform: translateX(-50%); }
.zero { stroke: var(--quiet); stroke-width: 1; vector-effect: non-scaling-stroke; }
.whisker, .dot { stroke: currentColor; vector-effect: non-scaling-stroke; }
.whisker { stroke-width: 2; opacity: .65; }
.dot { stroke-width: 9; stroke-linecap: round; }
.line { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; }
.faint { opacity: .25; stroke-width: 1; }
.dots { stroke: currentColor; stroke-width: 4.5; stroke-linecap: round; }
.cloud { stroke: currentColor; stroke-width: 3.2; stroke-linecap: round; opacity: .7; }
.o0 { color: var(--c1); } .o1 { color: color-mix(in srgb, var(--c0) 35%, var(--panel)); }
.o2 { color: color-mix(in srgb, var(--c0) 65%, var(--panel)); } .o3 { color: var(--c0); }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); } .rest { color: var(--rest); }
rect { fill: currentColor; }
.bar { border-radius: 6px; overflow: hidden; margin: .9rem 0 .5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; font-size: .85rem; color: var(--quiet); margin: .5rem 0; }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.legend i { width: .7rem; height: .7rem; border-radius: 50%; background: currentColor; flex: none; }
.person { margin: 0; border-top: 1px solid var(--line); font-size: .88rem; }
.person:first-of-type { margin-top: .8rem; }
.person summary { color: var(--ink); padding: .65rem 0; width: auto; font-size: .95rem; }
.person summary small { margin-left: .6rem; }
.people { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 2.5rem;
  padding-bottom: 1.2rem; }
.people h4 { margin: .4rem 0 .3rem; font-size: .8rem; font-weight: 500; color: var(--quiet); }
.people ol { margin: 0; padding-left: 1.6rem; }
.people ol.plain { list-style: none; padding: 0; }
.people li { padding: .12rem 0; overflow-wrap: anywhere; line-height: 1.4; }
.people li::marker { color: var(--quiet); font-variant-numeric: tabular-nums; }
.people li.hit { font-weight: 650; }
.tagged { display: inline-block; font-size: .72rem; font-weight: 600; line-height: 1.5; border-radius: 4px;
  padding: 0 .4em; margin-left: .45em; color: var(--panel); background: var(--good); white-space: nowrap; }
.tagged.new { background: var(--level); }
.parts { display: flex; height: 4px; margin-top: .2rem; border-radius: 2px; overflow: hidden; max-width: 14rem;
  background: var(--soft); }
.parts i { background: currentColor; }
.fine { color: var(--good); } .care { color: var(--bad); }
footer { color: var(--quiet); font-size: .85rem; padding-bottom: 3rem; }
@media (max-width: 40rem) {
  header, main, footer { padding-left: .9rem; padding-right: .9rem; }
  section { padding: 1.1rem 1rem; }
  .rows, .rows.groups { display: block; }
  .row { display: grid; grid-template-columns: 1fr max-content; gap: .15rem .75rem; margin-bottom: .7rem; }
  .row svg, .row .scale { grid-column: 1 / -1; grid-row: 2; }
}
@media print {
  body { background: #fff; } section { break-inside: avoid-page; border: 0; padding: 0; } nav { display: none; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
"""
