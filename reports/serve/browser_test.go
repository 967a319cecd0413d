package serve

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kube-rehearse/rehearse/test/chromium"
)

// tab is a tab that looks at the pages of a server.
type tab struct {
	*chromium.Tab
	base string
}

// visit serves dir and opens a tab of the given width.
func visit(t *testing.T, dir string, width int64, actions ...chromium.Action) tab {
	t.Helper()
	s := serverOf(t, dir)
	l, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(serving, l) }()
	ctx := chromium.Start(t, "127.0.0.1")
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	base := "http://" + l.Addr().String()
	ours := func(requested string) bool { return strings.HasPrefix(requested, base+"/") }
	b := tab{Tab: chromium.Open(ctx, t, ours, width, 900), base: base}
	b.Do(actions...)
	return b
}

// until waits for a JavaScript condition, across a change of the page too.
func (b tab) until(condition string) {
	b.T.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ok, err := chromedp.Run(b.Ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			b.T.Fatalf("waiting for %s: %v; the page says %.800s", condition, err, b.text("body"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b tab) text(selector string) string {
	b.T.Helper()
	return strings.Join(strings.Fields(chromium.Eval[string](b.Tab, fmt.Sprintf("document.querySelector(%q)?.innerText ?? \"\"", selector))), " ")
}

func (b tab) open(path, ready string) {
	b.T.Helper()
	b.Do(chromedp.Navigate(b.base + path))
	b.until(fmt.Sprintf("document.documentElement.dataset.ready === %q", ready))
}

// click clicks on what is at a selector, and waits until a page of that path is there.
func (b tab) click(selector, path, ready string) {
	b.T.Helper()
	b.Do(chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
	b.until(fmt.Sprintf("location.pathname + location.search === %q && document.documentElement.dataset.ready === %q", path, ready))
}

// months is a directory with a year of monthly runs, the one of May NO-GO.
func months(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 6 {
		r := rehearsal(fmt.Sprintf("aaaaa%d", i), "monthly", 1)
		if i == 4 {
			r = rehearsal("aaaaa4", "monthly", 1, away)
		}
		r.Run.Started = time.Date(2026, time.Month(i+1), 1, 3, 0, 0, 0, time.UTC)
		r.Run.Ended = r.Run.Started.Add(10 * time.Minute)
		write(t, filepath.Join(dir, fmt.Sprintf("monthly-%d", i+1)), r)
	}
	sim := rehearsal("bbbbbb", "nightly", 5)
	sim.Run.Driver, sim.Run.Simulated = "sim", true
	write(t, filepath.Join(dir, "nightly"), sim)
	file(t, `{"format": 1, "id": `, dir, "torn", runFile)
	return dir
}

// TestPagesAsAReaderUsesThem opens the list, filters it, opens a run, looks at the
// history, zooms, goes along it by the keyboard, and compares two runs.
func TestPagesAsAReaderUsesThem(t *testing.T) {
	b := visit(t, months(t), 1280)
	b.open("/", "page")
	if got := b.text(".count"); got != "8 runs: 6 GO, 1 NO-GO, 1 without a verdict." {
		t.Errorf("the list says %q", got)
	}
	b.access()
	b.Picture("serve-list", "")
	b.Do(chromedp.SendKeys(chromedp.CSS(`select[name="scenario"]`), "monthly"))
	b.click(".filters button", "/?scenario=monthly&verdict=&driver=&simulated=", "page")
	if got := b.text(".count"); got != "6 of 8 runs: 5 GO, 1 NO-GO." {
		t.Errorf("filtered, the list says %q", got)
	}
	b.Picture("serve-list-filtered", "")

	b.click(`a[href="/run/monthly-5"]`, "/run/monthly-5", "true")
	if got := b.text("#verdict-word"); got != "✗ NO-GO" {
		t.Errorf("the report says %q", got)
	}
	if got := b.text(".notice"); got != "Judged anew from the record; verdict.json says the same, byte for byte." {
		t.Errorf("the notice says %q", got)
	}
	if got := chromium.Eval[int](b.Tab, `document.querySelectorAll("#panels canvas").length`); got < 2 {
		t.Errorf("the report has %d charts", got)
	}
	b.Picture("serve-run", "")
	b.click(`.around a:nth-child(2)`, "/history?scenario=monthly", "true")

	b.until(`document.querySelector("#view-text").textContent.startsWith("Shown: 6 of 6 runs, 2026-01-01 03:00 to 2026-06-01 03:00 UTC")`)
	if got := chromium.Eval[int](b.Tab, `document.querySelectorAll("#panels canvas").length`); got != 3 {
		t.Errorf("the history has %d charts, want p99, outage and duration", got)
	}
	if got := chromium.Eval[int](b.Tab, `document.querySelectorAll(".verdicts a").length`); got != 6 {
		t.Errorf("%d verdicts are marked, want 6", got)
	}
	b.access()
	b.Picture("serve-history", "")
	b.Drag("#panels .u-over", 0.5, 0.99)
	b.until(`document.querySelector("#view-text").textContent.startsWith("Shown: 3 of 6 runs")`)
	b.Picture("serve-history-zoomed", "")
	b.Do(chromedp.Focus(chromedp.CSS("#charts")), chromedp.KeyEvent("0"))
	b.Do(chromedp.KeyEvent(kb.End))
	b.until(`document.querySelector("#picked").textContent.startsWith("2026-06-01 03:00 UTC: GO, v1.34.4 → v1.35.4 on kind. Open its report")`)
	b.Do(chromedp.KeyEvent(kb.ArrowLeft))
	b.until(`document.querySelector("#picked").textContent.startsWith("2026-05-01 03:00 UTC: NO-GO")`)
	if got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll(".panel-head output")].map((e) => e.textContent)`); len(got) != 4 || got[2] != "4.99 s to 5.01 s, 500 requests lost" || got[3] != "upgrade 45 s, run 10 min" {
		t.Errorf("the charts read %q", got)
	}
	b.Picture("serve-history-picked", "")
	b.Do(chromedp.Click(chromedp.CSS(`.toolbar button[aria-pressed]`)))
	b.until(`document.querySelectorAll(".verdicts a").length === 6`)
	b.Picture("serve-history-even", "")
	b.Do(chromedp.Focus(chromedp.CSS("#charts")), chromedp.KeyEvent(kb.Enter))
	b.until(`location.pathname === "/run/monthly-5" && document.documentElement.dataset.ready === "true"`)

	b.open("/", "page")
	b.Do(chromedp.Click(chromedp.CSS(`input[value="monthly-5"]`)), chromedp.Click(chromedp.CSS(`input[value="monthly-2"]`)))
	b.click(".actions button", "/compare?a=monthly-2&b=monthly-5", "page")
	if got := b.text(".sides"); !strings.HasPrefix(got, "FIRST ✓ GO") || !strings.Contains(got, "SECOND ✗ NO-GO") {
		t.Errorf("side by side: %q", got)
	}
	b.access()
	b.Picture("serve-compare", "")
	b.click(`.filters a`, "/compare?a=monthly-5&b=monthly-2", "page")

	before := chromium.Eval[string](b.Tab, `getComputedStyle(document.body).backgroundColor`)
	b.Do(chromedp.Click(chromedp.CSS("#theme")))
	b.open("/history?scenario=monthly", "true")
	if after := chromium.Eval[string](b.Tab, `getComputedStyle(document.body).backgroundColor`); after == before {
		t.Errorf("the theme is forgotten on the next page: %s", after)
	}
	b.Picture("serve-history-dark", "")
	b.Quiet()
}

// TestPagesOnAPhone opens every page on 390 pixels, in the dark.
func TestPagesOnAPhone(t *testing.T) {
	dark := chromium.Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	b := visit(t, months(t), 390, dark)
	for _, x := range []struct{ name, path, ready string }{
		{"list", "/", "page"}, {"history", "/history?scenario=monthly", "true"}, {"compare", "/compare?a=monthly-2&b=monthly-5", "page"}, {"run", "/run/monthly-5", "true"},
	} {
		b.open(x.path, x.ready)
		for range 40 { // charts follow the width of the page
			if chromium.Eval[int](b.Tab, `document.documentElement.scrollWidth`) <= 390 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got := chromium.Eval[int](b.Tab, `document.documentElement.scrollWidth`); got > 390 {
			wide := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest("pre, svg, nav")).map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 20)).slice(0, 12)`)
			t.Errorf("%s: a phone of 390 pixels scrolls sideways over %d, because of %q", x.name, got, wide)
		}
		if wide := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("h1, h2, h3, caption:not(.hidden), th, td, p, dd, li")].filter((e) => e.clientWidth > 1 && e.clientWidth < 30 && e.textContent.trim().length > 6 && !e.closest(".hidden")).map((e) => e.textContent)`); len(wide) > 0 {
			t.Errorf("%s: these words are squeezed into a column: %q", x.name, wide)
		}
		b.Picture("serve-phone-"+x.name, "")
	}
	b.Quiet()
}

// TestListWithoutScripts shows that a browser without JavaScript filters, opens
// and compares.
func TestListWithoutScripts(t *testing.T) {
	off := chromium.Call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b := visit(t, months(t), 1280, off)
	b.Do(chromedp.Navigate(b.base + "/?scenario=monthly"))
	b.until(`document.querySelectorAll(".runs tbody tr").length === 6`)
	b.Do(chromedp.Click(chromedp.CSS(`input[value="monthly-1"]`)), chromedp.Click(chromedp.CSS(`input[value="monthly-3"]`)), chromedp.Click(chromedp.CSS(".actions button")))
	b.until(`location.search === "?a=monthly-1&b=monthly-3" && document.querySelectorAll(".side").length === 2`)
	if chromium.Eval[bool](b.Tab, `document.documentElement.dataset.ready !== undefined`) {
		t.Error("a script ran")
	}
	b.Quiet()
}

// access asserts what a screen reader needs of the page as it stands.
func (b tab) access() {
	b.T.Helper()
	b.CheckAccess(map[string]string{
		"controls without a name": `[...document.querySelectorAll("button, select, input")].filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() && e.tagName === "BUTTON" || e.closest("label"))).map((e) => e.outerHTML)`,
		"links without words":     `[...document.querySelectorAll("a")].filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label"))).map((e) => e.outerHTML.slice(0, 80))`,
		"pages without one h1":    `document.querySelectorAll("h1").length === 1 ? [] : ["h1: " + document.querySelectorAll("h1").length]`,
	})
}
