package live

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"backout/fixtures/browser"
)

// tab is a page in the browser.
type tab struct {
	*browser.Tab
	t *testing.T
}

func (s *Server) browse(t *testing.T, chromium context.Context, width, height int64, dark bool) *tab {
	t.Helper()
	b := &tab{browser.Open(t, chromium), t}
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(log.Enable(), network.Enable(),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		emulation.SetDeviceMetricsOverride(width, height, 1, false),
		chromedp.Navigate(s.URL()))
	return b
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b, actions...); err != nil {
		b.t.Fatalf("%v\nthe console said %q", err, b.Said())
	}
}

func (b *tab) ask(js string) (answer string) {
	b.t.Helper()
	b.do(chromedp.Evaluate("String("+js+")", &answer))
	return answer
}

// until waits for something on the page.
func (b *tab) until(js string) {
	b.t.Helper()
	for stop := time.Now().Add(25 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		is := false
		err := chromedp.Run(b, chromedp.Evaluate("!!("+js+")", &is)) // it fails while the page becomes another one
		if is && err == nil {
			return
		}
		if time.Now().After(stop) {
			b.t.Fatalf("waited for %s: %v; the headline is %q, the console said %q", js, err, b.ask(`document.querySelector("h1")?.textContent`), b.Said())
		}
	}
}

// headline waits for words in the headline.
func (b *tab) headline(words string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector("#headline")?.textContent.includes(%q)`, words))
}

// reach presses Tab until the focus is where it should be, as somebody does who has no pointer.
func (b *tab) reach(selector string) {
	b.t.Helper()
	for range 60 {
		if b.ask(fmt.Sprintf("document.activeElement?.matches(%q)", selector)) == "true" {
			return
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.t.Fatalf("Tab does not lead to %s", selector)
}

// order gives an order with the keyboard alone.
func (b *tab) order(name, by, why string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`!document.querySelector('[data-order=%s]').hasAttribute("aria-disabled")`, name))
	b.reach("[data-order=" + name + "]")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("ask").open`)
	if b.ask(`document.querySelector("[name=by]").value`) == "" {
		b.reach("[name=by]")
		b.do(chromedp.KeyEvent(by))
	}
	b.reach("[name=why]")
	b.do(chromedp.KeyEvent(why))
	b.reach("#ask-do")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!document.getElementById("ask")?.open`) // or the page has become the report
}

// clean fails when the console said anything, or when anything was asked of somebody else.
func (b *tab) clean(s *Server) {
	b.t.Helper()
	if said := b.Said(); len(said) > 0 {
		b.t.Errorf("the console said %q", said)
	}
	own := strings.TrimSuffix(s.URL(), "/")
	requests := b.Requests()
	for _, url := range requests {
		if !strings.HasPrefix(url, own+"/") && !strings.HasPrefix(url, "data:") {
			b.t.Errorf("the page asked for %s", url)
		}
	}
	if len(requests) < 4 {
		b.t.Errorf("saw the requests %q only", requests)
	}
}

// fits fails when the page is wider than the window.
func (b *tab) fits() {
	b.t.Helper()
	if wide := b.ask(`[...document.querySelectorAll("body *")].filter(x => x.getBoundingClientRect().right > innerWidth + 1 && !x.closest(".clip, .tl-under, .tl-over, .vh, .wide")).map(x => x.outerHTML.slice(0, 120)).slice(0, 3).join("\n")`); wide != "" {
		b.t.Errorf("wider than the window:\n%s", wide)
	}
	if over := b.ask("document.documentElement.scrollWidth - innerWidth"); over > "0" {
		b.t.Errorf("the page scrolls sideways by %s", over)
	}
}

// picture keeps a screenshot where BACKOUT_PICTURES says so, for people.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("BACKOUT_PICTURES")
	if dir == "" {
		return
	}
	var shot []byte
	b.do(cdppage.BringToFront(), chromedp.CaptureScreenshot(&shot)) // a tab behind another may never be drawn
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, fewColours(picture)); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), small.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// fewColours is a picture of the page in its 256 most frequent colours, which takes a third of the room.
func fewColours(from image.Image) image.Image {
	counts := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA {
		r, g, b, _ := from.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	r := from.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var few color.Palette
	for _, c := range all[:min(len(all), 256)] {
		few = append(few, c)
	}
	nearest := map[color.RGBA]uint8{}
	for c := range counts {
		nearest[c] = uint8(few.Index(c))
	}
	to := image.NewPaletted(r, few)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			to.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	return to
}

// A drill from its beginning to its end in a real browser, steered by the keyboard alone: paused, resumed, approved; then the
// page is the report. Another is handed over and refused, and another is aborted in a dark and narrow window.
func TestTheLivePageInABrowser(t *testing.T) {
	chromium := browser.Start(t)
	t.Run("approved", func(t *testing.T) {
		s, r, run := played(t, 8, "127.0.0.1:0")
		if err := r.Asks(3, time.Hour); err != nil {
			t.Fatal(err)
		}
		b := s.browse(t, chromium, 1440, 1700, false)
		b.until(`document.querySelector("[data-order=approve]").getAttribute("aria-disabled") === "true"`)
		if why := b.ask(`document.getElementById("hint-approve").textContent`); why != "nothing waits for approval" {
			t.Errorf("a button that cannot be pressed says %q", why)
		}
		b.order("pause", "ada", "look at the baseline")
		ended := run()
		b.headline("It is paused before the baseline")
		places := `[...document.querySelectorAll("[data-order]")].map(x => x.dataset.order + "@" + Math.round(x.getBoundingClientRect().left + scrollX) + "," + Math.round(x.getBoundingClientRect().top + scrollY)).join(" ")`
		before := b.ask(places)
		b.do(chromedp.Click("label:has(#zoom-rollback)"))
		b.order("resume", "ada", "")
		b.headline("It waits for approval of step 3")
		if after := b.ask(places); after != before || !strings.HasPrefix(after, "resume@") {
			t.Errorf("the buttons have moved from %s to %s", before, after)
		}
		b.fits()
		b.until(`document.querySelector("#timeline").textContent.includes("decided")`) // it was drawn anew since
		if b.ask(`document.getElementById("zoom-rollback").checked`) != "true" {
			t.Error("what was chosen in the timeline was lost when it was drawn anew")
		}
		b.do(chromedp.Click("label:has(#zoom-all)"))
		b.picture("live")
		late := s.browse(t, chromium, 1440, 1000, false)
		late.until(`document.getElementById("feed").textContent.includes("Phase: provision")`)
		late.until(`document.getElementById("feed").textContent.includes("paused, look at the baseline")`)
		b.order("approve", "ada", "harm was seen")
		for _, x := range []*tab{b, late} {
			x.until(`location.pathname.endsWith("/replay/report.html") && document.querySelector("#verdict")`)
			x.clean(s)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("handed over", func(t *testing.T) {
		s, r, run := played(t, 40, "127.0.0.1:0")
		r.Hands("ada", time.Hour)
		ended := run()
		b := s.browse(t, chromium, 700, 1000, false)
		b.headline("It is handed over to ada, who accepts or refuses it")
		b.fits()
		b.picture("live-handed-700")
		b.order("refuse", "ada", "one is open")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.until(`location.pathname.endsWith("/replay/report.html") && document.querySelector("#verdict")`)
		b.clean(s)
	})
	t.Run("aborted", func(t *testing.T) {
		s, r, run := played(t, 8, "127.0.0.1:0")
		if err := r.Asks(2, time.Hour); err != nil {
			t.Fatal(err)
		}
		ended := run()
		b := s.browse(t, chromium, 400, 900, true)
		b.headline("It waits for approval of step 2")
		if ground := b.ask(`getComputedStyle(document.body).backgroundColor`); ground != "rgb(20, 23, 26)" {
			t.Errorf("the ground is %s in the dark", ground)
		}
		b.fits()
		b.picture("live-dark-400")
		b.order("abort", "grace", "the wrong drill")
		if err := <-ended; err == nil || err.Error() != "aborted by grace: the wrong drill" {
			t.Errorf("it ended with %v", err)
		}
		b.until(`location.pathname.endsWith("/replay/report.html") && document.querySelector("#verdict")`)
		b.clean(s)
	})
}

// The control of what is said of console and network above: a page that does such things is seen to.
func TestABrowserSaysWhatAPageDoes(t *testing.T) {
	chromium := browser.Start(t)
	s, _, _ := played(t, 1, "127.0.0.1:0")
	b := s.browse(t, chromium, 400, 900, false)
	b.until(`document.querySelector("#headline")`)
	b.do(chromedp.Evaluate(`fetch("http://127.0.0.1:1/").catch(() => console.error("seen")); document.body.insertAdjacentHTML("beforeend", "<div style='width:900px'>wide</div>"); 0`, nil))
	for stop := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		said := strings.Join(b.Said(), "\n")
		if strings.Contains(said, "seen") && strings.Contains(said, "Content Security Policy") {
			break // the policy stops it before it leaves, and says so
		}
		if time.Now().After(stop) {
			t.Fatalf("the console said only %q", said)
		}
	}
	if b.ask("document.documentElement.scrollWidth > innerWidth") != "true" {
		t.Error("a page that is too wide was not seen to be")
	}
}
