package serve

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser starts a headless Chromium. Without one the test is skipped, except in
// CI, where that is a failure: run hack/chromium.sh.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		const remedy = "install it with hack/chromium.sh"
		if os.Getenv("CI") == "true" {
			t.Fatalf("CHROMIUM CANNOT BE STARTED IN CI, the pages stay untested: %v; %s", err, remedy)
		}
		t.Skipf("CHROMIUM CANNOT BE STARTED, THE PAGES STAY UNTESTED: %v; %s", err, remedy)
	}
	return ctx
}

type action = chromedp.Action[chromedp.Void]

func call[P, R any](command cdp.Command[P, R], params P) action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

// tab is a page of the server in a browser, with everything it complained of.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu         sync.Mutex
	complaints []string
}

// visit serves dir and opens a tab of the given width.
func visit(t *testing.T, dir string, width int64, actions ...action) *tab {
	t.Helper()
	s := serverOf(t, dir)
	l, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(serving, l) }()
	ctx := browser(t)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	b := &tab{t: t, ctx: ctx, base: "http://" + l.Addr().String()}
	listen := func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, b.base+"/") {
				b.complain("requested " + e.Request.URL)
			}
		case *network.EventResponseReceived:
			if e.Response.Status != http.StatusOK {
				b.complain(fmt.Sprintf("was answered %d for %s", e.Response.Status, e.Response.URL))
			}
		case *runtime.EventConsoleAPICalled:
			b.complain(fmt.Sprintf("console %s: %v", e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			b.complain(fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			b.complain(fmt.Sprintf("log %s: %s", e.Entry.Level, e.Entry.Text))
		}
	}
	if err := chromedp.Listen(ctx, listen); err != nil {
		t.Fatal(err)
	}
	b.do(call(network.Enable, network.EnableParams{}), call(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(width, 900))
	b.do(actions...)
	return b
}

func (b *tab) complain(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, what)
}

// quiet asserts that no page asked for anything from elsewhere or complained.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.t.Errorf("a page %s", c)
	}
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

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return out
}

// until waits for a JavaScript condition, across a change of the page too.
func (b *tab) until(condition string) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waiting for %s: %v; the page says %.800s", condition, err, b.text("body"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.Join(strings.Fields(eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? \"\"", selector))), " ")
}

func (b *tab) open(path, ready string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
	b.until(fmt.Sprintf("document.documentElement.dataset.ready === %q", ready))
}

// click clicks on what is at a selector, and waits until a page of that path is there.
func (b *tab) click(selector, path, ready string) {
	b.t.Helper()
	b.do(chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
	b.until(fmt.Sprintf("location.pathname + location.search === %q && document.documentElement.dataset.ready === %q", path, ready))
}

// picture leaves a screenshot in $REHEARSE_SCREENSHOTS.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("REHEARSE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "serve-"+name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
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
	b.picture("list")
	b.do(chromedp.SendKeys(chromedp.CSS(`select[name="scenario"]`), "monthly"))
	b.click(".filters button", "/?scenario=monthly&verdict=&driver=&simulated=", "page")
	if got := b.text(".count"); got != "6 of 8 runs: 5 GO, 1 NO-GO." {
		t.Errorf("filtered, the list says %q", got)
	}
	b.picture("list-filtered")

	b.click(`a[href="/run/monthly-5"]`, "/run/monthly-5", "true")
	if got := b.text("#verdict-word"); got != "✗ NO-GO" {
		t.Errorf("the report says %q", got)
	}
	if got := b.text(".notice"); got != "Judged anew from the record; verdict.json says the same, byte for byte." {
		t.Errorf("the notice says %q", got)
	}
	if got := eval[int](b, `document.querySelectorAll("#panels canvas").length`); got < 2 {
		t.Errorf("the report has %d charts", got)
	}
	b.picture("run")
	b.click(`.around a:nth-child(2)`, "/history?scenario=monthly", "true")

	b.until(`document.querySelector("#view-text").textContent.startsWith("Shown: 6 of 6 runs, 2026-01-01 03:00 to 2026-06-01 03:00 UTC")`)
	if got := eval[int](b, `document.querySelectorAll("#panels canvas").length`); got != 3 {
		t.Errorf("the history has %d charts, want p99, outage and duration", got)
	}
	if got := eval[int](b, `document.querySelectorAll(".verdicts a").length`); got != 6 {
		t.Errorf("%d verdicts are marked, want 6", got)
	}
	b.access()
	b.picture("history")
	drag(b, "#panels .u-over", 0.5, 0.99)
	b.until(`document.querySelector("#view-text").textContent.startsWith("Shown: 3 of 6 runs")`)
	b.picture("history-zoomed")
	b.do(chromedp.Focus(chromedp.CSS("#charts")), chromedp.KeyEvent("0"))
	b.do(chromedp.KeyEvent(kb.End))
	b.until(`document.querySelector("#picked").textContent.startsWith("2026-06-01 03:00 UTC: GO, v1.34.4 → v1.35.4 on kind. Open its report")`)
	b.do(chromedp.KeyEvent(kb.ArrowLeft))
	b.until(`document.querySelector("#picked").textContent.startsWith("2026-05-01 03:00 UTC: NO-GO")`)
	if got := eval[[]string](b, `[...document.querySelectorAll(".panel-head output")].map((e) => e.textContent)`); len(got) != 4 || got[2] != "4.99 s to 5.01 s, 500 requests lost" || got[3] != "upgrade 45 s, run 10 min" {
		t.Errorf("the charts read %q", got)
	}
	b.picture("history-picked")
	b.do(chromedp.Click(chromedp.CSS(`.toolbar button[aria-pressed]`)))
	b.until(`document.querySelectorAll(".verdicts a").length === 6`)
	b.picture("history-even")
	b.do(chromedp.Focus(chromedp.CSS("#charts")), chromedp.KeyEvent(kb.Enter))
	b.until(`location.pathname === "/run/monthly-5" && document.documentElement.dataset.ready === "true"`)

	b.open("/", "page")
	b.do(chromedp.Click(chromedp.CSS(`input[value="monthly-5"]`)), chromedp.Click(chromedp.CSS(`input[value="monthly-2"]`)))
	b.click(".actions button", "/compare?a=monthly-2&b=monthly-5", "page")
	if got := b.text(".sides"); !strings.HasPrefix(got, "FIRST ✓ GO") || !strings.Contains(got, "SECOND ✗ NO-GO") {
		t.Errorf("side by side: %q", got)
	}
	b.access()
	b.picture("compare")
	b.click(`.filters a`, "/compare?a=monthly-5&b=monthly-2", "page")

	before := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
	b.do(chromedp.Click(chromedp.CSS("#theme")))
	b.open("/history?scenario=monthly", "true")
	if after := eval[string](b, `getComputedStyle(document.body).backgroundColor`); after == before {
		t.Errorf("the theme is forgotten on the next page: %s", after)
	}
	b.picture("history-dark")
	b.quiet()
}

// drag moves the pressed mouse across an element, from one share of its width to another.
func drag(b *tab, selector string, from, to float64) {
	b.t.Helper()
	b.do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	r := eval[[]float64](b, fmt.Sprintf("(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()", selector))
	y := r[1] + r[3]/2
	b.do(chromedp.DragAndDropXY(r[0]+r[2]*from, y, r[0]+r[2]*to, y))
}

// TestPagesOnAPhone opens every page on 390 pixels, in the dark.
func TestPagesOnAPhone(t *testing.T) {
	dark := call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	b := visit(t, months(t), 390, dark)
	for _, x := range []struct{ name, path, ready string }{
		{"list", "/", "page"}, {"history", "/history?scenario=monthly", "true"}, {"compare", "/compare?a=monthly-2&b=monthly-5", "page"}, {"run", "/run/monthly-5", "true"},
	} {
		b.open(x.path, x.ready)
		for range 40 { // charts follow the width of the page
			if eval[int](b, `document.documentElement.scrollWidth`) <= 390 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got := eval[int](b, `document.documentElement.scrollWidth`); got > 390 {
			wide := eval[[]string](b, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest("pre, svg, nav")).map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 20)).slice(0, 12)`)
			t.Errorf("%s: a phone of 390 pixels scrolls sideways over %d, because of %q", x.name, got, wide)
		}
		if wide := eval[[]string](b, `[...document.querySelectorAll("h1, h2, h3, caption:not(.hidden), th, td, p, dd, li")].filter((e) => e.clientWidth > 1 && e.clientWidth < 30 && e.textContent.trim().length > 6 && !e.closest(".hidden")).map((e) => e.textContent)`); len(wide) > 0 {
			t.Errorf("%s: these words are squeezed into a column: %q", x.name, wide)
		}
		b.picture("phone-" + x.name)
	}
	b.quiet()
}

// TestListWithoutScripts shows that a browser without JavaScript filters, opens
// and compares.
func TestListWithoutScripts(t *testing.T) {
	off := call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b := visit(t, months(t), 1280, off)
	b.do(chromedp.Navigate(b.base + "/?scenario=monthly"))
	b.until(`document.querySelectorAll(".runs tbody tr").length === 6`)
	b.do(chromedp.Click(chromedp.CSS(`input[value="monthly-1"]`)), chromedp.Click(chromedp.CSS(`input[value="monthly-3"]`)), chromedp.Click(chromedp.CSS(".actions button")))
	b.until(`location.search === "?a=monthly-1&b=monthly-3" && document.querySelectorAll(".side").length === 2`)
	if eval[bool](b, `document.documentElement.dataset.ready !== undefined`) {
		t.Error("a script ran")
	}
	b.quiet()
}

// access asserts what a screen reader needs of the page as it stands.
func (b *tab) access() {
	b.t.Helper()
	for what, expression := range map[string]string{
		"ids used twice":              `[...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`,
		"tables without a caption":    `[...document.querySelectorAll("table:not(:has(> caption))")].map((e) => e.textContent.slice(0, 40))`,
		"headers without a scope":     `[...document.querySelectorAll("th:not([scope])")].map((e) => e.textContent)`,
		"controls without a name":     `[...document.querySelectorAll("button, select, input")].filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() && e.tagName === "BUTTON" || e.closest("label"))).map((e) => e.outerHTML)`,
		"pictures without a name":     `[...document.querySelectorAll("svg:not([aria-label]):not([aria-hidden])")].map((e) => e.outerHTML.slice(0, 80))`,
		"sections without a heading":  `[...document.querySelectorAll("main > section")].filter((e) => !document.getElementById(e.getAttribute("aria-labelledby"))).map((e) => e.outerHTML.slice(0, 80))`,
		"headings that skip a level":  `[...document.querySelectorAll("h1,h2,h3,h4,h5")].map((e) => +e.tagName[1]).filter((n, i, all) => i > 0 && n > all[i - 1] + 1).map(String)`,
		"scroll regions out of reach": `[...document.querySelectorAll(".scroll:not([tabindex])")].map((e) => e.className)`,
		"links without words":         `[...document.querySelectorAll("a")].filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label"))).map((e) => e.outerHTML.slice(0, 80))`,
		"pages without one h1":        `document.querySelectorAll("h1").length === 1 ? [] : ["h1: " + document.querySelectorAll("h1").length]`,
	} {
		if got := eval[[]string](b, expression); len(got) > 0 {
			b.t.Errorf("%s: %q", what, got)
		}
	}
}
