package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"backout/fixtures/browser"
)

// tab is a page in the browser.
type tab struct{ *browser.Tab }

func open(t testing.TB, chromium context.Context, url string, width, height int64, first ...chromedp.Action) *tab {
	t.Helper()
	b := &tab{browser.Open(t, chromium)}
	actions := append([]chromedp.Action{network.Enable(), log.Enable(), chromedp.EmulateViewport(width, height), cdppage.BringToFront()}, first...)
	b.run(t, append(actions, chromedp.Navigate(url))...)
	return b
}

func (b *tab) run(t testing.TB, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b, actions...); err != nil {
		t.Fatal(err)
	}
}

// ask evaluates an expression in the page.
func ask[T any](t testing.TB, b *tab, expression string) (answer T) {
	t.Helper()
	b.run(t, chromedp.Evaluate(expression, &answer))
	return answer
}

// quiet fails the test when the page wanted anything of the network, or the console is not empty.
func (b *tab) quiet(t testing.TB) {
	t.Helper()
	for _, text := range b.Said() {
		t.Errorf("the console is not empty: %s", text)
	}
	requests := b.Requests()
	for _, url := range requests {
		if !strings.HasPrefix(url, "file://") && !strings.HasPrefix(url, "data:") {
			t.Errorf("a request to the network: %s", url)
		}
	}
	if files := slices.DeleteFunc(requests, func(u string) bool { return strings.HasPrefix(u, "data:") }); len(files) > 1 {
		t.Errorf("it wants more than its one file: %v", files)
	}
}

// written is the report of the fixture, or a page of another format, as a file.
func written(t testing.TB, m *Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := HTML(f, m); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// sideways names what is wider than the page, which then scrolls sideways.
const sideways = `(() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const root = document.documentElement, over = root.scrollWidth - root.clientWidth;
  if (over <= 0) return '';
  const held = e => { for (let p = e.parentElement; p !== document.body; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };
  const wide = [...document.querySelectorAll('body *')].filter(e => (e.getBoundingClientRect().right > root.clientWidth + 1 || e.clientWidth && e.scrollWidth > root.clientWidth && getComputedStyle(e).overflowX === 'visible') && !held(e)).slice(-3);
  return over + ' px too wide: ' + wide.map(e => e.parentElement.className + ' > ' + e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40)).join(' | ');
})()`

// faint names the words whose colour is too near to that of their ground: WCAG 2, AA, 4.5 to 1, and 3 to 1 for large ones.
const faint = `(() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => { const f = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const out = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.closest('script, style, svg') || !e.getClientRects().length) continue;
    const css = getComputedStyle(e);
    if (css.visibility === 'hidden') continue;
    let ground = [255, 255, 255], at = e;
    for (; at; at = at.parentElement) {
      const c = rgb(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0) { ground = c; break; }
    }
    const a = light(rgb(css.color)), b = light(ground), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const size = parseFloat(css.fontSize), large = size >= 24 || size >= 18.66 && css.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) out.add(ratio.toFixed(2) + ' ' + e.tagName + '.' + e.className + ' "' + e.textContent.trim().slice(0, 30) + '"');
  }
  return [...out].slice(0, 5).join('; ');
})()`

// skipped names the first heading that is more than a level below the one before.
const skipped = `(() => {
  let before = 0;
  for (const h of document.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
    const level = +h.tagName[1];
    if (level > before + 1) return h.tagName + ' ' + h.textContent.trim().slice(0, 40) + ' after h' + before;
    before = level;
  }
  return before ? '' : 'there is none';
})()`

// What was found by eye in the first reports, and by whoever reads them with the keyboard, on a telephone, at night or on
// paper: seen to by a real browser.
func TestTheReportInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	url := written(t, load(t))
	chromium := browser.Start(t)

	t.Run("from disk, with nothing from the network and nothing to complain of", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900)
		if h := ask[string](t, b, `document.querySelector('h1').innerText`); !strings.Contains(h, "Fail.") {
			t.Errorf("the headline is %q", h)
		}
		b.quiet(t)
		if text := ask[string](t, b, sideways); text != "" {
			t.Error(text)
		}
		if text := ask[string](t, b, skipped); text != "" {
			t.Errorf("a heading leaves a level out: %s", text)
		}
	})

	t.Run("the index of a set", func(t *testing.T) {
		path, err := filepath.Abs("testdata/set/index.html")
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, chromium, "file://"+path, 1440, 900)
		b.quiet(t)
		for what, expression := range map[string]string{"headings": skipped, "contrast": faint, "width": sideways} {
			if text := ask[string](t, b, expression); text != "" {
				t.Errorf("%s: %s", what, text)
			}
		}
		b.run(t, chromedp.EmulateViewport(400, 900))
		if text := ask[string](t, b, sideways); text != "" {
			t.Errorf("400 px: %s", text)
		}
	})

	t.Run("the script is the only one that may run", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900)
		ran := ask[bool](t, b, `(() => { const s = document.createElement('script'); s.textContent = 'window.injected = 1'; document.body.append(s); return !!window.injected })()`)
		if ran {
			t.Error("a script that came in by some text would run")
		}
	})

	t.Run("hostile names are text", func(t *testing.T) {
		b := open(t, chromium, written(t, hostile()), 1440, 900)
		if n := ask[int](t, b, `document.querySelectorAll('script').length`); n != 2 {
			t.Errorf("the page has %d scripts, of its own two", n)
		}
		if n := ask[int](t, b, `document.querySelectorAll('img, iframe, object, [onerror], [href^="javascript"]').length`); n != 0 {
			t.Errorf("%d elements came in by some text", n)
		}
		if !ask[bool](t, b, `document.body.innerText.includes('<script>alert(1)</script>')`) {
			t.Error("the text is not shown as it is")
		}
		b.quiet(t)
		for _, width := range []int64{1440, 400} {
			b.run(t, chromedp.EmulateViewport(width, 900))
			if text := ask[string](t, b, sideways); text != "" {
				t.Errorf("%d px: %s", width, text)
			}
		}
	})

	t.Run("by the keyboard alone", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900)
		reach := func(what, is string) {
			t.Helper()
			for range 120 {
				b.run(t, chromedp.KeyEvent(kb.Tab))
				if ask[bool](t, b, `document.activeElement.matches(`+fmt.Sprintf("%q", is)+`)`) {
					return
				}
			}
			t.Fatalf("Tab does not lead to %s", what)
		}
		b.run(t, chromedp.KeyEvent(kb.Tab))
		if !ask[bool](t, b, `document.activeElement.matches('.skip')`) {
			t.Error("the first stop does not lead past the list of sections")
		}
		reach("the part of the drill that is drawn", "[name=zoom]")
		before := ask[string](t, b, `getComputedStyle(document.getElementById('tl')).getPropertyValue('--span')`)
		b.run(t, chromedp.KeyEvent(kb.ArrowRight))
		if after := ask[string](t, b, `getComputedStyle(document.getElementById('tl')).getPropertyValue('--span')`); after == before {
			t.Error("the arrow does not choose the rollback alone")
		}
		reach("the moment in the drill", "[role=slider]")
		now := `+document.activeElement.getAttribute('aria-valuenow')`
		was := ask[float64](t, b, now)
		b.run(t, chromedp.KeyEvent(kb.ArrowRight))
		if is := ask[float64](t, b, now); is <= was {
			t.Errorf("the arrow leads from %v to %v", was, is)
		}
		b.run(t, chromedp.KeyEvent(kb.Home))
		if is := ask[float64](t, b, now); is != 0 {
			t.Errorf("Home leads to %v", is)
		}
		b.run(t, chromedp.KeyEvent(kb.End))
		if is := ask[string](t, b, `document.activeElement.getAttribute('aria-valuetext')`); !strings.Contains(is, "no data") {
			t.Errorf("at the end, where nothing was observed, it says %q", is)
		}
		outlined := `getComputedStyle(document.activeElement).outlineStyle !== 'none'`
		if !ask[bool](t, b, outlined) {
			t.Error("the focus is not seen")
		}
		reach("a folded part", "summary")
		folded := ask[bool](t, b, `document.activeElement.parentNode.open`)
		b.run(t, chromedp.KeyEvent(kb.Enter))
		if ask[bool](t, b, `document.activeElement.parentNode.open`) == folded {
			t.Error("Enter does not open it")
		}
		b.quiet(t)
	})

	t.Run("a command is copied", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900)
		if commands, buttons := ask[int](t, b, `document.querySelectorAll('.cmd').length`), ask[int](t, b, `document.querySelectorAll('.cmd .copy').length`); commands == 0 || buttons != commands {
			t.Errorf("%d commands have %d buttons", commands, buttons)
		}
		b.run(t, chromedp.Evaluate(`addEventListener('copy', () => window.copied = getSelection().toString());
			navigator.clipboard.writeText = async text => { window.copied = text; }; document.querySelector('.todo .copy').click()`, nil))
		var copied string
		b.run(t, chromedp.Poll(`document.querySelector('.todo .copy').textContent === 'Copied' && window.copied`, &copied))
		if want := load(t).Run.Again; copied != want {
			t.Errorf("copied is %q, expected %q", copied, want)
		}
	})

	t.Run("a number of the writes opens to its rows", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900)
		b.run(t, chromedp.Evaluate(`document.querySelectorAll('details.opened').forEach(d => d.open = false); document.querySelector('.writes td a').click()`, nil))
		var opened bool
		b.run(t, chromedp.Poll(`document.querySelector(document.querySelector('.writes td a').getAttribute('href')).open`, &opened))
		if !opened {
			t.Error("it stays folded")
		}
	})

	t.Run("400 px wide", func(t *testing.T) {
		for _, width := range []int64{400, 620, 861, 1121} {
			b := open(t, chromium, url, width, 800)
			if text := ask[string](t, b, sideways); text != "" {
				t.Errorf("%d px: %s", width, text)
			}
		}
	})

	t.Run("what belongs to one moment stands under it", func(t *testing.T) {
		for _, width := range []int64{400, 1440} {
			b := open(t, chromium, url, width, 800)
			off := ask[float64](t, b, `(() => {
  const x = s => [...document.querySelectorAll(s)].map(e => e.getBoundingClientRect().left);
  const marks = x('.clk'), rules = x('.vl');
  return Math.max(...marks.map((m, i) => Math.abs(m - rules[i])));
})()`)
			if off > 1.5 {
				t.Errorf("%d px: a clock and its line are %.0f px apart", width, off)
			}
		}
	})

	t.Run("light and dark", func(t *testing.T) {
		for _, scheme := range []string{"light", "dark"} {
			b := open(t, chromium, url, 1440, 900, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
			dark := ask[bool](t, b, `getComputedStyle(document.body).backgroundColor.match(/\d+/)[0] < 128`)
			if dark != (scheme == "dark") {
				t.Errorf("%s: the page is dark: %v", scheme, dark)
			}
			if text := ask[string](t, b, faint); text != "" {
				t.Errorf("%s: too little contrast: %s", scheme, text)
			}
		}
	})

	t.Run("without its script", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900, emulation.SetScriptExecutionDisabled(true))
		if dead := ask[int](t, b, `document.querySelectorAll('button, [role=slider], .tl-how:not([hidden])').length`); dead != 0 {
			t.Errorf("%d things on the page do nothing", dead)
		}
		if rest := ask[string](t, b, `document.querySelector('[data-s]').innerText`); !strings.Contains(rest, "%") {
			t.Errorf("the worst of the first line is %q", rest)
		}
		b.quiet(t)
	})

	t.Run("on paper", func(t *testing.T) {
		b := open(t, chromium, url, 1440, 900)
		var pdf []byte
		b.run(t, chromedp.ActionFunc(func(ctx context.Context) (err error) {
			pdf, _, err = cdppage.PrintToPDF().WithPreferCSSPageSize(true).Do(ctx)
			return err
		}))
		if pages := bytes.Count(pdf, []byte("/Type /Page\n")); !bytes.HasPrefix(pdf, []byte("%PDF")) || pages < 3 || pages > 30 {
			t.Errorf("a PDF of %d pages and %d bytes", pages, len(pdf))
		}
		b.run(t, emulation.SetEmulatedMedia().WithMedia("print"))
		if text := ask[string](t, b, `[...document.querySelectorAll('.copy, .tl-tools, .rail')].filter(e => e.getClientRects().length).map(e => e.className).join()`); text != "" {
			t.Errorf("on paper stands what only a pointer can use: %s", text)
		}
		if folded := ask[int](t, b, `[...document.querySelectorAll('details')].filter(d => !d.lastElementChild.checkVisibility()).length`); folded > 0 {
			t.Errorf("%d parts are folded on paper", folded)
		}
	})
}
