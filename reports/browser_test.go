package reports

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kube-rehearse/rehearse/test/chromium"
)

// tab is one page that was opened offline.
type tab struct{ *chromium.Tab }

// open opens f's page from a file in a window of the given size, offline, and
// waits until its scripts have run to their end.
func open(ctx context.Context, t *testing.T, f fixture, width, height int64, actions ...chromium.Action) tab {
	t.Helper()
	path := filepath.Join(t.TempDir(), ReportFile)
	if err := os.WriteFile(path, render(t, FormatHTML, f), 0o644); err != nil {
		t.Fatal(err)
	}
	address := "file://" + path
	b := tab{chromium.Open(ctx, t, func(requested string) bool { return requested == address }, width, height)}
	b.Do(actions...)
	b.Do(chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS(`html[data-ready="true"]`)))
	return b
}

// until waits for a JavaScript condition.
func (b tab) until(condition string) {
	b.T.Helper()
	if _, err := chromedp.Run(b.Ctx, chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		b.T.Fatalf("waiting for %s: %v; the timeline says %q", condition, err, b.text("#view-text"))
	}
}

func (b tab) text(selector string) string {
	b.T.Helper()
	return strings.Join(strings.Fields(chromium.Eval[string](b.Tab, fmt.Sprintf("document.querySelector(%q).textContent", selector))), " ")
}

func named(t *testing.T, name string) fixture {
	t.Helper()
	for _, f := range fixtures() {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no fixture %q", name)
	return fixture{}
}

// TestPageAsAReaderUsesIt opens a NO-GO, reads the verdict and the timeline,
// zooms with buttons, keys and the mouse, and picks events.
func TestPageAsAReaderUsesIt(t *testing.T) {
	b := open(chromium.Start(t), t, named(t, "no-go"), 1280, 900)
	if got := b.text("#verdict-word"); got != "✗ NO-GO" {
		t.Errorf("the verdict reads %q", got)
	}
	if got := b.text(".summary"); got != noGoVerdict().Summary {
		t.Errorf("the summary reads %q", got)
	}
	if got := b.text(".simulated"); !strings.HasPrefix(got, "Simulated. No real cluster was upgraded.") {
		t.Errorf("the banner reads %q", got)
	}
	b.until(`document.querySelector("#view-text").textContent !== ""`)
	if got, want := b.text("#view-text"), "Shown: +00:34.9 to +09:15.1 (warmup, baseline, upgrade, settle)"; got != want {
		t.Errorf("the timeline shows %q, want %q", got, want)
	}
	if got := chromium.Eval[int](b.Tab, `document.querySelectorAll("#panels canvas").length`); got != 4 {
		t.Errorf("%d charts, want one for each of 3 lanes and one for what they lost", got)
	}
	if got, want := b.text(".panel.lane output"), "shown: lost 521 of 51,000, highest p99 "; !strings.HasPrefix(got, want) {
		t.Errorf("lane new reads %q, want %q", got, want)
	}
	if got := chromium.Eval[string](b.Tab, `[...document.querySelectorAll("svg .phase + text")].map((e) => e.textContent).join(" ")`); !strings.Contains(got, "baseline") || !strings.Contains(got, "upgrade") {
		t.Errorf("the phases read %q", got)
	}
	if got := chromium.Eval[int](b.Tab, `document.querySelectorAll(".nodes .upgrading").length`); got != 3 {
		t.Errorf("%d nodes are shown upgrading, want 3", got)
	}
	if got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll(".probes svg, .dns svg")].map((e) => e.getAttribute("aria-label"))`); len(got) != 2 || got[0] != "API: answered 3,992 of 4,080" || got[1] != "DNS, asked from each node: answered 998 of 1,020" {
		t.Errorf("API and DNS are %q", got)
	}
	b.Picture("report-no-go", "")
	b.Picture("report-no-go-timeline", "#timeline")

	shown := func(want string) {
		t.Helper()
		b.until(fmt.Sprintf("document.querySelector('#view-text').textContent.startsWith(%q)", "Shown: "+want))
	}
	b.Do(chromedp.Click(chromedp.CSS(`button[aria-label="Zoom in"]`)))
	shown("+02:45.0 to +07:05.1 (upgrade)")
	b.Do(chromedp.Focus(chromedp.CSS("#charts")), chromedp.KeyEvent("+"))
	shown("+03:50.0 to +06:00.0")
	b.Do(chromedp.KeyEvent(kb.ArrowRight))
	shown("+04:16.0 to +06:26.0")
	b.Do(chromedp.KeyEvent("0"))
	shown("+00:34.9 to +09:15.1")
	b.Drag(".panel.lane .u-over", 0.25, 0.75)
	shown("+02:4") // half a pixel is a tenth of a second
	b.Do(chromedp.Click(chromedp.CSS(`button[aria-label^="Show the outage"]`)))
	shown("+03:58.4 to +04:19.2")
	b.Picture("report-no-go-outage", "#timeline")

	// The row of events is reached by the keyboard and speaks.
	b.Do(chromedp.Focus(chromedp.CSS(".events svg")), chromedp.KeyEvent(kb.ArrowRight))
	if got := b.text("#detail h3"); got != "cordon" {
		t.Errorf("the first event in view is %q, want cordon", got)
	}
	if got := b.text("#detail dl"); !strings.Contains(got, "node/quickstart-worker") || !strings.Contains(got, "new: lost 521 of 1,800") {
		t.Errorf("its details read %q", got)
	}
	b.Do(chromedp.KeyEvent(kb.ArrowRight))
	if got, want := chromium.Eval[string](b.Tab, `document.querySelector(".events svg").getAttribute("aria-valuetext")`), "+04:06.0 drain-start node/quickstart-worker"; got != want {
		t.Errorf("the slider speaks %q, want %q", got, want)
	}
	b.Picture("report-no-go-event", "")
	b.Do(chromedp.KeyEvent(kb.Escape))
	if !chromium.Eval[bool](b.Tab, `document.querySelector("#detail").hidden`) {
		t.Error("Escape leaves the details open")
	}
	b.Do(chromedp.Click(chromedp.CSS(`.mark[data-kind="upgrade-start"]`)))
	if got := b.text("#detail h3"); got != "upgrade-start" {
		t.Errorf("a click on a mark shows %q", got)
	}

	b.ledger()

	// The same data as tables.
	b.Do(chromedp.KeyEvent(kb.Escape)) // the details would lie over what is clicked next
	b.until(`document.querySelector("#detail").hidden`)
	for _, id := range []string{"#figures", "#events"} {
		b.Do(chromedp.Click(chromedp.CSS(id + " > summary")))
		b.until(fmt.Sprintf("document.querySelectorAll(%q).length > 0", id+" tbody tr"))
	}
	if got, want := chromium.Eval[int](b.Tab, `document.querySelectorAll("#events tbody tr").length`), 3*16+0; got != want {
		t.Errorf("the table has %d events, want %d", got, want)
	}
	if got := chromium.Eval[int](b.Tab, `document.querySelectorAll("#figures tbody tr").length`); got < 20 {
		t.Errorf("the table of figures has %d rows for 21 seconds", got)
	}

	before := chromium.Eval[string](b.Tab, `getComputedStyle(document.body).backgroundColor`)
	b.Do(chromedp.Click(chromedp.CSS("#theme")))
	if after := chromium.Eval[string](b.Tab, `getComputedStyle(document.body).backgroundColor`); after == before {
		t.Errorf("the theme button leaves the background at %s", after)
	}
	b.Picture("report-no-go-dark", "")

	// On paper the ledger is whole, and without its buttons.
	chromium.Eval[bool](b.Tab, `dispatchEvent(new Event("beforeprint"))`)
	b.Do(chromium.Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	if got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("#ledger .show, #ledger .cards dl")].map((e) => e.tagName + " " + (getComputedStyle(e).display === "none" ? "hidden" : "shown"))`); !slices.Equal(got, []string{"DL shown", "BUTTON hidden", "DL shown", "BUTTON hidden", "DL shown", "BUTTON hidden"}) {
		t.Errorf("printed, the ledger has %q", got)
	}
	b.Picture("report-no-go-print", "#ledger")
	b.Quiet()
}

// ledger picks entries of a NO-GO's blame ledger, with the mouse and the keyboard.
func (b tab) ledger() {
	b.T.Helper()
	b.Do(chromedp.KeyEvent(kb.Escape)) // the details of an event would lie over the page
	b.until(`document.querySelector("#detail").hidden`)
	if got, want := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("#ledger .cards h3")].map((e) => e.textContent)`), []string{
		"1. Away for 10.8 s to 11.2 s: the API server", "2. Away for 5.21 s to 5.24 s: lane new", "3. Slow for 2 s to 4 s: lane reused",
	}; !slices.Equal(got, want) {
		b.T.Errorf("the entries are %q, want %q", got, want)
	}
	if got, want := b.text("#ledger .cards > li:nth-child(2) dl > div:nth-child(2)"), "Causedrain-start of node/quickstart-worker, 0.2 s before: connections were refused, so the process was gone before its endpoint was removed.in 0.995% of cases events at other times would explain it as well"; got != want {
		b.T.Errorf("the cause reads %q, want %q", got, want)
	}
	b.Picture("report-no-go-ledger", "#ledger")
	framed := func(want string) {
		b.T.Helper()
		b.until(fmt.Sprintf("document.querySelector('#view-text').textContent.includes(%q)", want))
	}
	b.Do(chromedp.Click(chromedp.CSS(`#ledger button[aria-label="Show entry 3 on the timeline"]`)))
	framed("Framed: entry 3 of the blame ledger, reused at +06:44.0, in the upgrade: 2 s to 4 s, 378 of 400 requests slow, the longest took 31 ms")
	framed("Shown: +06:38.0 to +06:54.0")
	if got := chromium.Eval[string](b.Tab, `document.activeElement.id`); got != "charts" {
		b.T.Errorf("the focus is on %q, want the charts", got)
	}
	b.Picture("report-no-go-entry", "#timeline")
	b.Do(chromedp.Focus(chromedp.CSS(`#ledger button[aria-label="Show entry 2 on the timeline"]`)), chromedp.KeyEvent(kb.Enter))
	framed("Framed: entry 2 of the blame ledger, new at +04:06.2")
	if got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll('button.show[aria-pressed="true"]')].map((e) => e.dataset.entry)`); !slices.Equal(got, []string{"2"}) {
		b.T.Errorf("the buttons of entries %q are pressed, want 2", got)
	}
}

// TestPrintedWithoutNotice prints a page whose scripts are not told of it, as
// tools that print without a window do, and lays it out narrower than the names
// beside the charts, as it may be for a moment meanwhile.
func TestPrintedWithoutNotice(t *testing.T) {
	b := open(chromium.Start(t), t, named(t, "no-go"), 1280, 900)
	chromium.Eval[bool](b.Tab, `addEventListener("beforeprint", (e) => e.stopImmediatePropagation(), true) ?? true`)
	b.Do(chromium.Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	for _, width := range []int{794, 60, 680} {
		b.Do(chromedp.EmulateViewport(int64(width), 1123))
		b.until(fmt.Sprintf(`innerWidth === %d && document.querySelector(".axis svg").viewBox.baseVal.width === Math.max(240, document.querySelector("#panels").clientWidth)`, width))
	}
	if got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("#panels svg [width]")].filter((e) => !(+e.getAttribute("width") >= 0)).map((e) => e.outerHTML)`); len(got) > 0 {
		t.Errorf("these have no width: %q", got)
	}
	if !chromium.Eval[bool](b.Tab, `[...document.querySelectorAll("details:not(.data) > *:not(summary)")].every((e) => e.checkVisibility())`) {
		t.Error("remarks are folded away on paper, where nobody can open them")
	}
	b.Quiet()
}

// TestEveryPageOpensQuietly opens every fixture, the hostile one and one of
// eight hours included, wide, narrow, light and dark.
func TestEveryPageOpensQuietly(t *testing.T) {
	ctx := chromium.Start(t)
	scheme := func(value string) chromium.Action {
		return chromium.Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
	}
	all := append(fixtures(), fixture{"long", longRecord(), goVerdict()}, fixture{"busy", named(t, "no-go").record, busyVerdict()})
	for i, f := range all {
		width, colors := int64(1280), "light"
		if i%2 == 1 {
			width, colors = 390, "dark"
		}
		t.Run(f.name, func(t *testing.T) {
			b := open(ctx, t, f, width, 844, scheme(colors))
			t.Logf("open after %d ms", chromium.Eval[int](b.Tab, `Math.round(performance.timing.loadEventEnd - performance.timing.navigationStart)`))
			b.Picture(fmt.Sprintf("report-%s-%d-%s", f.name, width, colors), "")
			b.checkAccess()
			if f.name == "busy" {
				b.Picture("report-busy-ledger", "#ledger")
				if cards, more := chromium.Eval[int](b.Tab, `document.querySelectorAll("#ledger .cards > li").length`), b.text("#ledger summary"); cards != 8 || more != "The other 35 entries" {
					t.Errorf("%d entries are shown, and then %q", cards, more)
				}
				b.Do(chromedp.Click(chromedp.CSS("#ledger summary")))
				b.Do(chromedp.Click(chromedp.CSS(`#ledger tbody tr:nth-child(2) button`)))
				b.until(`document.querySelector("#view-text").textContent.includes("Framed: entry ")`)
				chromium.Eval[bool](b.Tab, `document.querySelector("#ledger details").open = false`)
			}
			b.Do(chromedp.EmulateViewport(390, 844))
			b.until(`innerWidth === 390 && document.querySelector("#panels").clientWidth < 390`)
			// The charts follow the page's width, each in a frame of its own.
			overflow := func() int { return chromium.Eval[int](b.Tab, `document.documentElement.scrollWidth`) }
			for range 50 {
				if overflow() <= 390 {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if got := overflow(); got > 390 {
				wide := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest(".scroll, pre, svg, nav")).map((e) => e.tagName + "." + e.className).slice(0, 9)`)
				t.Errorf("a phone of 390 pixels scrolls sideways over %d, because of %q", got, wide)
			}
			if got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("h1, h2, h3, caption:not(.hidden), th, td, p, dd, li")].filter((e) => e.clientWidth > 1 && e.clientWidth < 30 && e.textContent.trim().length > 6).map((e) => e.textContent)`); len(got) > 0 {
				t.Errorf("on a phone these words are squeezed into a column: %q", got)
			}
			b.Quiet()
		})
	}
}

// checkAccess asserts what a screen reader needs of a report, and that it holds
// nothing that could reach out.
func (b tab) checkAccess() {
	b.T.Helper()
	b.CheckAccess(map[string]string{
		"buttons without a name":        `[...document.querySelectorAll("button")].filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML)`,
		"links that lead nowhere":       `[...document.querySelectorAll('a[href^="#"]')].map((e) => e.getAttribute("href")).filter((h) => !document.querySelector(h))`,
		"scripts or styles from afar":   `[...document.querySelectorAll("[src], link[href]")].map((e) => e.outerHTML.slice(0, 80))`,
		"words cut off by their cells":  `[...document.querySelectorAll(".tiles .value, #verdict-word")].filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline").map((e) => e.textContent)`,
		"elements with event handlers":  `[...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).map((e) => e.outerHTML.slice(0, 80))`,
		"elements a record could bring": `[...document.querySelectorAll("main iframe, main img, main script, main object, main form")].map((e) => e.outerHTML.slice(0, 80))`,
	})
}
