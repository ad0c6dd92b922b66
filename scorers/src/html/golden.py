"""Writes golden.json: own pages with the texts of resiliparse 2.0.1 (`pip install resiliparse==2.0.1`).

Each item: name, html, main (main_content=True), text (main_content=False); alt_texts=False in both.
"""

import json
import pathlib

from resiliparse.extract.html2text import extract_plain_text

FILL = "The river rose over night and the bridge was closed to all but the post. " * 4

PAGES = {
    "article": f"<!doctype html><title>T</title><body><nav><a href=/>Home</a></nav><div><div><div><h1>Head</h1><p>{FILL}</p><h2>Sub</h2><p>{FILL}<br><br>after</p></div></div></div><footer>Foot</footer>",
    "lists": "<body><main><div><div><div><ul><li>one<li>two<ol><li>a</li><li>b<p>c</p></li></ol></ul><ol><li>x<li>y</ol><li>loose</div></div></div></main>",
    "tables": "<body><table><caption>cap</caption><tr><th>a<th>b</tr> <tr><td>1 <b>x</b></td> <td></td><td>3<p>4</p></td></tr></table><td>stray",
    "pre": "<body><div>before<pre>\n  a\n    b\tc  \n</pre>after <code>x  y</code><pre>one <b>two</b>\n\n\nthree</pre></div>",
    "breaks": "<body>a<br>b<br><br>c<br><br><br>d<hr>e<p>f<br></p><p><br>g</p>",
    "characters": "<body><p>&lt;b&gt; &amp;amp; &nbsp;x&nbsp; &euro; &#x1F600; so&shy;ft zero&#8203;width &copy &notit; \u00b6 <a>\u00b6</a> <i>\ue001</i> \u4e2d",
    "hidden": "<body><p hidden>a</p><p style='display:none'>b</p><p style='color:red; visibility : hidden;'>c</p><p class=visually-hidden>d</p><p aria-hidden=true>e</p><p aria-expanded=false>f</p><p>g</p>",
    "skipped": "<body><script>a</script><style>b</style><noscript>c</noscript><template>d</template><iframe>e</iframe><svg><text>f</text></svg><form>g<label>h</label><button>i</button><select><option>j</select><textarea>k</textarea></form><figure>l<figcaption>m</figcaption></figure><p>n",
    "classes": "".join(f"<body><div><div><div><div class='{c}'>{c}</div>" + "</div></div></div>" for c in "sidebar side-bar page-header site-footer cookie-notice breadcrumbs nav main-nav menu related related-articles trending search searchbox modal popup gallery carousel print-only login user-profile ad ad_12 advert sponsor banner share social newsletter comments reply logo site-logo next prev pagination skip-link spinner short-view-count post-content entry article-footer content_text hidden one-third".split()),
    "links": f"<body><div><div><div><div><div><div><a href=x>all link text</a> x</div><div><a href=x>link</a> {FILL}</div><ul><li><a href=x>one</a></ul><ul><li><a>t</a> {FILL}</ul></div></div></div></div></div>",
    "one_root": "<body><div>outside</div><div class='main-content'>inside<p>text</p></div>",
    "two_roots": "<body><div>outside</div><div class='main-content' role=main>inside</div>",
    "quirks_root": "<body><div>outside</div><div class='Main-Content'>inside</div>",
    "noscript_root": "<body><div>outside</div><noscript><div role=main>inside</div></noscript>",
    "footers": "<body><div><div><div><footer>not last, kept</footer><p>x</p></div></div></div><div><div><div><footer>last</footer> </div></div></div>",
    "frameset": "<frameset><frame src=a><noframes>no frames</noframes></frameset>",
    "shell": "<!doctype html><title>App</title><div id=root></div><script src=x></script>",
    "misnested": "<body><b>1<p>2</b>3</p><table>a<tr>b<td>c</table><a>d<a>e</a><p>f<div>g</p>h",
    "empty": "",
    "space": " \n ",
    "mark": "\ufeff<title>T</title><p>x",
    "foreign": "<body><svg><title>s</title><desc><p>d</p></desc></svg><math><mi>x</mi><mo>=</mo><mn>1</mn></math> end",
    "roles": "".join(f"<div class=c role={r}>{r}</div>" for r in "alert banner dialog main navigation presentation search tab tooltip article".split()),
}

items = [
    {
        "name": name,
        "html": html,
        "main": extract_plain_text(html, main_content=True, alt_texts=False),
        "text": extract_plain_text(html, main_content=False, alt_texts=False),
    }
    for name, html in PAGES.items()
]
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(items, ensure_ascii=True, indent=1) + "\n")
