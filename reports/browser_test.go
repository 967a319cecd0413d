package reports

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser starts one headless Chromium for a test and its subtests. Without
// Chromium the test is skipped, except in CI, where that is a failure: run
// hack/chromium.sh.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"), // offline
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		const remedy = "install it with hack/chromium.sh"
		if os.Getenv("CI") == "true" {
			t.Fatalf("CHROMIUM CANNOT BE STARTED IN CI, the report's page stays untested: %v; %s", err, remedy)
		}
		t.Skipf("CHROMIUM CANNOT BE STARTED, THE REPORT'S PAGE STAYS UNTESTED: %v; %s", err, remedy)
	}
	return ctx
}

type action = chromedp.Action[chromedp.Void]

// call is the action of a command of the browser's protocol.
func call[P, R any](command cdp.Command[P, R], params P) action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

// tab is one page that was opened offline, with everything it complained of.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// open opens f's page from a file in a window of the given size, offline, and
// waits until its scripts have run to their end.
func open(ctx context.Context, t *testing.T, f fixture, width, height int64, actions ...action) *tab {
	t.Helper()
	path := filepath.Join(t.TempDir(), ReportFile)
	if err := os.WriteFile(path, render(t, FormatHTML, f), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	address := "file://" + path
	listen := func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if e.Request.URL != address {
				b.complain("requested " + e.Request.URL)
			}
		case *runtime.EventConsoleAPICalled:
			b.complain(fmt.Sprintf("console %s: %v", e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			b.complain(fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			b.complain(fmt.Sprintf("log %s: %s", e.Entry.Level, e.Entry.Text))
		case *cdppage.EventJavascriptDialogOpening:
			b.complain("dialog: " + e.Message)
		}
	}
	if err := chromedp.Listen(ctx, listen); err != nil {
		t.Fatal(err)
	}
	b.do(call(network.Enable, network.EnableParams{}), call(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(width, height))
	b.do(actions...)
	b.do(chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS(`html[data-ready="true"]`)))
	return b
}

func (b *tab) complain(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, what)
}

func (b *tab) do(actions ...action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("%v; the page said %q", err, b.complaints)
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return out
}

// until waits for a JavaScript condition.
func (b *tab) until(condition string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		b.t.Fatalf("waiting for %s: %v; the timeline says %q", condition, err, b.text("#view-text"))
	}
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.Join(strings.Fields(eval[string](b, fmt.Sprintf("document.querySelector(%q).textContent", selector))), " ")
}

// quiet fails the test if the page complained of anything so far.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.t.Errorf("the page %s", c)
	}
}

// picture leaves a screenshot in $REHEARSE_SCREENSHOTS, of an element or, with
// an empty selector, of the whole page.
func (b *tab) picture(name, selector string) {
	b.t.Helper()
	dir := os.Getenv("REHEARSE_SCREENSHOTS")
	if dir == "" {
		return
	}
	shot := chromedp.FullScreenshot(100)
	if selector != "" {
		shot = chromedp.Screenshot(chromedp.CSS(selector))
	}
	png, err := chromedp.Run(b.ctx, shot)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "report-"+name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
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
	b := open(browser(t), t, named(t, "no-go"), 1280, 900)
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
	if got := eval[int](b, `document.querySelectorAll("#panels canvas").length`); got != 4 {
		t.Errorf("%d charts, want one for each of 3 lanes and one for what they lost", got)
	}
	if got, want := b.text(".panel.lane output"), "shown: lost 521 of 51,000, highest p99 "; !strings.HasPrefix(got, want) {
		t.Errorf("lane new reads %q, want %q", got, want)
	}
	if got := eval[string](b, `[...document.querySelectorAll("svg .phase + text")].map((e) => e.textContent).join(" ")`); !strings.Contains(got, "baseline") || !strings.Contains(got, "upgrade") {
		t.Errorf("the phases read %q", got)
	}
	if got := eval[int](b, `document.querySelectorAll(".nodes .upgrading").length`); got != 3 {
		t.Errorf("%d nodes are shown upgrading, want 3", got)
	}
	if got := eval[[]string](b, `[...document.querySelectorAll(".probes svg, .dns svg")].map((e) => e.getAttribute("aria-label"))`); len(got) != 2 || got[0] != "API: answered 3,992 of 4,080" || got[1] != "DNS, asked from each node: answered 998 of 1,020" {
		t.Errorf("API and DNS are %q", got)
	}
	b.picture("no-go", "")
	b.picture("no-go-timeline", "#timeline")

	shown := func(want string) {
		t.Helper()
		b.until(fmt.Sprintf("document.querySelector('#view-text').textContent.startsWith(%q)", "Shown: "+want))
	}
	b.do(chromedp.Click(chromedp.CSS(`button[aria-label="Zoom in"]`)))
	shown("+02:45 to +07:05.1 (upgrade)")
	b.do(chromedp.Focus(chromedp.CSS("#charts")), chromedp.KeyEvent("+"))
	shown("+03:50 to +06:00")
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	shown("+04:16 to +06:26")
	b.do(chromedp.KeyEvent("0"))
	shown("+00:34.9 to +09:15.1")
	drag(b, ".panel.lane .u-over", 0.25, 0.75)
	shown("+02:4") // half a pixel is a tenth of a second
	b.do(chromedp.Click(chromedp.CSS(`button[aria-label^="Show the outage"]`)))
	shown("+03:58.4 to +04:19.2")
	b.picture("no-go-outage", "#timeline")

	// The row of events is reached by the keyboard and speaks.
	b.do(chromedp.Focus(chromedp.CSS(".events svg")), chromedp.KeyEvent(kb.ArrowRight))
	if got := b.text("#detail h3"); got != "cordon" {
		t.Errorf("the first event in view is %q, want cordon", got)
	}
	if got := b.text("#detail dl"); !strings.Contains(got, "node/quickstart-worker") || !strings.Contains(got, "new: lost 521 of 1,800") {
		t.Errorf("its details read %q", got)
	}
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	if got, want := eval[string](b, `document.querySelector(".events svg").getAttribute("aria-valuetext")`), "+04:06 drain-start node/quickstart-worker"; got != want {
		t.Errorf("the slider speaks %q, want %q", got, want)
	}
	b.picture("no-go-event", "")
	b.do(chromedp.KeyEvent(kb.Escape))
	if !eval[bool](b, `document.querySelector("#detail").hidden`) {
		t.Error("Escape leaves the details open")
	}
	b.do(chromedp.Click(chromedp.CSS(`.mark[data-kind="upgrade-start"]`)))
	if got := b.text("#detail h3"); got != "upgrade-start" {
		t.Errorf("a click on a mark shows %q", got)
	}

	b.ledger()

	// The same data as tables.
	b.do(chromedp.KeyEvent(kb.Escape)) // the details would lie over what is clicked next
	b.until(`document.querySelector("#detail").hidden`)
	for _, id := range []string{"#figures", "#events"} {
		b.do(chromedp.Click(chromedp.CSS(id + " > summary")))
		b.until(fmt.Sprintf("document.querySelectorAll(%q).length > 0", id+" tbody tr"))
	}
	if got, want := eval[int](b, `document.querySelectorAll("#events tbody tr").length`), 3*16+0; got != want {
		t.Errorf("the table has %d events, want %d", got, want)
	}
	if got := eval[int](b, `document.querySelectorAll("#figures tbody tr").length`); got < 20 {
		t.Errorf("the table of figures has %d rows for 21 seconds", got)
	}

	before := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
	b.do(chromedp.Click(chromedp.CSS("#theme")))
	if after := eval[string](b, `getComputedStyle(document.body).backgroundColor`); after == before {
		t.Errorf("the theme button leaves the background at %s", after)
	}
	b.picture("no-go-dark", "")

	// On paper the ledger is whole, and without its buttons.
	eval[bool](b, `dispatchEvent(new Event("beforeprint"))`)
	b.do(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	if got := eval[[]string](b, `[...document.querySelectorAll("#ledger .show, #ledger .cards dl")].map((e) => e.tagName + " " + (getComputedStyle(e).display === "none" ? "hidden" : "shown"))`); !slices.Equal(got, []string{"DL shown", "BUTTON hidden", "DL shown", "BUTTON hidden", "DL shown", "BUTTON hidden"}) {
		t.Errorf("printed, the ledger has %q", got)
	}
	b.picture("no-go-print", "#ledger")
	b.quiet()
}

// ledger picks entries of a NO-GO's blame ledger, with the mouse and the keyboard.
func (b *tab) ledger() {
	b.t.Helper()
	b.do(chromedp.KeyEvent(kb.Escape)) // the details of an event would lie over the page
	b.until(`document.querySelector("#detail").hidden`)
	if got, want := eval[[]string](b, `[...document.querySelectorAll("#ledger .cards h3")].map((e) => e.textContent)`), []string{
		"1. Away for 10.8 s to 11.2 s: the API server", "2. Away for 5.21 s to 5.24 s: lane new", "3. Slow for 2 s to 4 s: lane reused",
	}; !slices.Equal(got, want) {
		b.t.Errorf("the entries are %q, want %q", got, want)
	}
	if got, want := b.text("#ledger .cards > li:nth-child(2) dl > div:nth-child(2)"), "Causedrain-start of node/quickstart-worker, 0.2 s before: connections were refused, so the process was gone before its endpoint was removed.in 0.995% of cases events at other times would explain it as well"; got != want {
		b.t.Errorf("the cause reads %q, want %q", got, want)
	}
	b.picture("no-go-ledger", "#ledger")
	framed := func(want string) {
		b.t.Helper()
		b.until(fmt.Sprintf("document.querySelector('#view-text').textContent.includes(%q)", want))
	}
	b.do(chromedp.Click(chromedp.CSS(`#ledger button[aria-label="Show entry 3 on the timeline"]`)))
	framed("Framed: entry 3 of the blame ledger, reused at +06:44.0, in the upgrade: 2 s to 4 s, 378 of 400 requests slow, the longest took 31 ms")
	framed("Shown: +06:38 to +06:54")
	if got := eval[string](b, `document.activeElement.id`); got != "charts" {
		b.t.Errorf("the focus is on %q, want the charts", got)
	}
	b.picture("no-go-entry", "#timeline")
	b.do(chromedp.Focus(chromedp.CSS(`#ledger button[aria-label="Show entry 2 on the timeline"]`)), chromedp.KeyEvent(kb.Enter))
	framed("Framed: entry 2 of the blame ledger, new at +04:06.2")
	if got := eval[[]string](b, `[...document.querySelectorAll('button.show[aria-pressed="true"]')].map((e) => e.dataset.entry)`); !slices.Equal(got, []string{"2"}) {
		b.t.Errorf("the buttons of entries %q are pressed, want 2", got)
	}
}

// drag moves the pressed mouse across an element, from one share of its width to another.
func drag(b *tab, selector string, from, to float64) {
	b.t.Helper()
	b.do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	r := eval[[]float64](b, fmt.Sprintf("(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()", selector))
	y := r[1] + r[3]/2
	b.do(chromedp.DragAndDropXY(r[0]+r[2]*from, y, r[0]+r[2]*to, y))
}

// TestEveryPageOpensQuietly opens every fixture, the hostile one and one of
// eight hours included, wide, narrow, light and dark.
func TestEveryPageOpensQuietly(t *testing.T) {
	ctx := browser(t)
	scheme := func(value string) action {
		return call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
	}
	all := append(fixtures(), fixture{"long", longRecord(), goVerdict()}, fixture{"busy", named(t, "no-go").record, busyVerdict()})
	for i, f := range all {
		width, colors := int64(1280), "light"
		if i%2 == 1 {
			width, colors = 390, "dark"
		}
		t.Run(f.name, func(t *testing.T) {
			b := open(ctx, t, f, width, 844, scheme(colors))
			t.Logf("open after %d ms", eval[int](b, `Math.round(performance.timing.loadEventEnd - performance.timing.navigationStart)`))
			b.picture(fmt.Sprintf("%s-%d-%s", f.name, width, colors), "")
			b.checkAccess()
			if f.name == "busy" {
				b.picture("busy-ledger", "#ledger")
				if cards, more := eval[int](b, `document.querySelectorAll("#ledger .cards > li").length`), b.text("#ledger summary"); cards != 8 || more != "The other 35 entries" {
					t.Errorf("%d entries are shown, and then %q", cards, more)
				}
				b.do(chromedp.Click(chromedp.CSS("#ledger summary")))
				b.do(chromedp.Click(chromedp.CSS(`#ledger tbody tr:nth-child(2) button`)))
				b.until(`document.querySelector("#view-text").textContent.includes("Framed: entry ")`)
				eval[bool](b, `document.querySelector("#ledger details").open = false`)
			}
			b.do(chromedp.EmulateViewport(390, 844))
			b.until(`innerWidth === 390 && document.querySelector("#panels").clientWidth < 390`)
			// The charts follow the page's width, each in a frame of its own.
			overflow := func() int { return eval[int](b, `document.documentElement.scrollWidth`) }
			for range 50 {
				if overflow() <= 390 {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if got := overflow(); got > 390 {
				wide := eval[[]string](b, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest(".scroll, pre, svg, nav")).map((e) => e.tagName + "." + e.className).slice(0, 9)`)
				t.Errorf("a phone of 390 pixels scrolls sideways over %d, because of %q", got, wide)
			}
			if got := eval[[]string](b, `[...document.querySelectorAll("h1, h2, h3, caption:not(.hidden), th, td, p, dd, li")].filter((e) => e.clientWidth > 1 && e.clientWidth < 30 && e.textContent.trim().length > 6).map((e) => e.textContent)`); len(got) > 0 {
				t.Errorf("on a phone these words are squeezed into a column: %q", got)
			}
			b.quiet()
		})
	}
}

// checkAccess asserts what a screen reader needs of the page as it stands.
func (b *tab) checkAccess() {
	b.t.Helper()
	for what, expression := range map[string]string{
		"ids used twice":                `[...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`,
		"tables without a caption":      `[...document.querySelectorAll("table:not(:has(> caption))")].map((e) => e.textContent.slice(0, 40))`,
		"headers without a scope":       `[...document.querySelectorAll("th:not([scope])")].map((e) => e.textContent)`,
		"buttons without a name":        `[...document.querySelectorAll("button")].filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML)`,
		"pictures without a name":       `[...document.querySelectorAll("svg:not([aria-label]):not([aria-hidden])")].map((e) => e.outerHTML.slice(0, 80))`,
		"sections without a heading":    `[...document.querySelectorAll("main > section")].filter((e) => !document.getElementById(e.getAttribute("aria-labelledby"))).map((e) => e.id)`,
		"links that lead nowhere":       `[...document.querySelectorAll('a[href^="#"]')].map((e) => e.getAttribute("href")).filter((h) => !document.querySelector(h))`,
		"headings that skip a level":    `[...document.querySelectorAll("h1,h2,h3,h4,h5")].map((e) => +e.tagName[1]).filter((n, i, all) => i > 0 && n > all[i - 1] + 1).map(String)`,
		"scripts or styles from afar":   `[...document.querySelectorAll("[src], link[href]")].map((e) => e.outerHTML.slice(0, 80))`,
		"words cut off by their cells":  `[...document.querySelectorAll(".tiles .value, #verdict-word")].filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline").map((e) => e.textContent)`,
		"scroll regions out of reach":   `[...document.querySelectorAll(".scroll:not([tabindex])")].map((e) => e.className)`,
		"elements with event handlers":  `[...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).map((e) => e.outerHTML.slice(0, 80))`,
		"elements a record could bring": `[...document.querySelectorAll("main iframe, main img, main script, main object, main form")].map((e) => e.outerHTML.slice(0, 80))`,
	} {
		if got := eval[[]string](b, expression); len(got) > 0 {
			b.t.Errorf("%s: %q", what, got)
		}
	}
}
