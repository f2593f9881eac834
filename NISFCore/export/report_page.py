"""The page around the report's contents: layout and style. `$name` is filled in by `report`."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>NISF report: $subject</title>
<style>
:root { --ink:#1c2024; --muted:#60646c; --line:#e0e1e6; --paper:#fff; --desk:#f4f5f7;
        --screen:#0b0d10; --accent:#3e63dd; }
* { box-sizing: border-box; }
body { margin:0; background:var(--desk); color:var(--ink);
       font:15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width:1120px; margin:0 auto; padding:28px 20px 60px; }
header { display:flex; flex-wrap:wrap; gap:8px 24px; align-items:baseline; }
h1 { font-size:26px; margin:0; letter-spacing:-.01em; }
h2 { font-size:17px; margin:0 0 4px; }
p { margin:0 0 10px; }
.muted, figcaption, header span { color:var(--muted); }
.banner { margin:14px 0 20px; padding:10px 14px; border-radius:8px; background:#fff4d6;
          border:1px solid #f0d48a; font-weight:600; }
section { background:var(--paper); border:1px solid var(--line); border-radius:12px;
          padding:18px 20px; margin:0 0 18px; }
.cards { display:grid; grid-template-columns:repeat(4, 1fr); gap:12px;
         margin-bottom:18px; }
.card { background:var(--paper); border:1px solid var(--line); border-radius:12px;
        padding:12px 14px; }
.card b { display:block; font-size:23px; line-height:1.2; white-space:nowrap;
          font-variant-numeric:tabular-nums; }
.card small { font-size:13px; font-weight:500; color:var(--muted); }
.card span { display:block; font-size:12.5px; line-height:1.35; color:var(--muted);
             margin-top:3px; }
.two { display:grid; grid-template-columns:1fr 1fr; gap:18px; }
.two section { margin:0; }
.two + section, section + .two { margin-top:0; }
.row { margin-bottom:18px; }
img { display:block; max-width:100%; height:auto; }
.two img { width:100%; }
img.wide { width:100%; margin-bottom:10px; }
.chip { display:inline-flex; align-items:center; gap:6px; margin-right:16px; font-size:13px; }
.chip i { width:12px; height:12px; border-radius:3px; }
.screen { background:var(--screen); border-radius:8px; padding:10px 12px 12px; overflow-x:auto; }
.slice { display:grid; grid-template-columns:74px minmax(0, 1fr); align-items:center; gap:8px;
         margin-bottom:6px; color:#d5d8de; font-size:13px; }
.slice img { width:100%; border-radius:4px; }
.heads { margin-bottom:4px; color:#9aa1ac; }
.heads div { display:grid; grid-template-columns:repeat(4, 1fr); text-align:center; }
.surfaces { display:grid; grid-template-columns:repeat(4, 1fr); gap:12px; }
figure { margin:0; } figure img { width:100%; border-radius:8px; }
figcaption { text-align:center; font-size:13px; margin-top:4px; }
table { border-collapse:collapse; width:100%; font-size:13.5px; margin-top:6px; }
th { text-align:left; color:var(--muted); font-weight:600; border-bottom:1px solid var(--line); }
th, td { padding:5px 10px 5px 0; }
td { border-bottom:1px solid #f0f1f4; font-variant-numeric:tabular-nums; }
th:not(:first-child), td:not(:first-child) { text-align:right; padding-right:4px; }
details table td { text-align:left !important; word-break:break-word; }
summary { cursor:pointer; color:var(--accent); font-weight:600; }
ul { margin:4px 0 0; padding-left:20px; }
footer { color:var(--muted); font-size:13px; }
@media (max-width:820px) { .cards { grid-template-columns:1fr 1fr; }
  .two { grid-template-columns:1fr; }
  .surfaces { grid-template-columns:1fr 1fr; } }
@media print { body { background:#fff; } main { max-width:none; padding:0; }
  section, .card { break-inside:avoid; } .screen { print-color-adjust:exact;
  -webkit-print-color-adjust:exact; } }
</style>
</head>
<body>
<main>
<header><h1>Heart reconstruction</h1><span>$subject</span><span>NISF $version</span></header>
<div class="banner" role="note">Research use only. Not a medical device: not for diagnosis or
treatment.</div>
<div class="cards">$cards</div>
<section><h2>Can this result be trusted?</h2>$quality</section>

<section><h2>Slices before and after alignment</h2>
<p class="muted">Outlines of the reconstructed heart on the measured images. “Before” cuts the heart
where the scanner placed the slice, “after” where the fit found it to be.</p>
<p>$legend</p>
<div class="screen">
<div class="slice heads"><span></span><div><span>ED, before</span><span>ED, after</span>
<span>ES, before</span><span>ES, after</span></div></div>
$slices
</div></section>

<section><h2>3D surfaces</h2>
<p class="muted">Closed at the valves; the myocardium is translucent.</p>
<div class="surfaces">$surfaces</div></section>

<div class="two row">
<section><h2>Volume over the cardiac cycle</h2>$curve</section>
<section><h2>Ventricular function</h2>$function</section>
</div>

<section><h2>Where slices cross</h2>
<p class="muted">The pairs of slices that agreed least before alignment. Lines: where the two planes
meet, <b style="color:#e5484d">before</b> and <b style="color:#30a46c">after</b>. Middle: what the
two slices show along that line, from left to right over one cardiac cycle each. At the seam both
show the same time, so edges should pass straight through it.</p>
$profiles</section>

<section><h2>Slice motion</h2>
<p class="muted">How each slice was moved: rotation about its centre, then shift, in patient
directions right, anterior, superior. Intensity scale relative to the other slices.</p>
$motion</section>

<section><h2>Strain of the LV wall</h2>
<p class="muted">Green-Lagrange strain since end-diastole, from the motion of the tissue.</p>
$strain</section>

<div class="two row">
<section><h2>Figures</h2>$evaluation</section>
<section><h2>Convergence of the fit</h2>$convergence</section>
</div>

<section><h2>Assumptions and warnings</h2>$notes</section>

<section><details><summary>Settings and timing</summary>$settings</details></section>
<footer>Written by NISF $version. Research use only, not a medical device.</footer>
</main>
</body>
</html>
"""
