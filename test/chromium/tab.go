package chromium

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Tab is one tab of a browser, with everything its pages complained of. What
// goes wrong in a method ends its test.
type Tab struct {
	T   *testing.T
	Ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// Open opens an empty tab of the given size in a browser of Start. A request for
// an address that ours denies is a complaint of the page.
func Open(ctx context.Context, t *testing.T, ours func(address string) bool, width, height int64) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Tab{T: t, Ctx: ctx}
	listen := func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if !ours(e.Request.URL) {
				b.complain("requested " + e.Request.URL)
			}
		case *network.EventResponseReceived:
			// What is read from a file has no status.
			if strings.HasPrefix(e.Response.URL, "http") && e.Response.Status != http.StatusOK {
				b.complain(fmt.Sprintf("was answered %d for %s", e.Response.Status, e.Response.URL))
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
	b.Do(Call(network.Enable, network.EnableParams{}), Call(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(width, height))
	return b
}

func (b *Tab) complain(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, what)
}

// Quiet fails the test if a page complained of anything so far.
func (b *Tab) Quiet() {
	b.T.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.T.Errorf("the page %s", c)
	}
}

// Do does one thing after the other, within two minutes.
func (b *Tab) Do(actions ...Action) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, 2*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.T.Fatalf("%v; the page said %q", err, b.complaints)
	}
}

// Drag moves the pressed mouse across an element, from one share of its width to
// another.
func (b *Tab) Drag(selector string, from, to float64) {
	b.T.Helper()
	b.Do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	r := Eval[[]float64](b, fmt.Sprintf("(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()", selector))
	y := r[1] + r[3]/2
	b.Do(chromedp.DragAndDropXY(r[0]+r[2]*from, y, r[0]+r[2]*to, y))
}

// Eval returns the value of a JavaScript expression.
func Eval[T any](b *Tab, expression string) T {
	b.T.Helper()
	out, err := chromedp.Run(b.Ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.T.Fatalf("%s: %v", expression, err)
	}
	return out
}

// Picture leaves a screenshot, <name>.png, in $REHEARSE_SCREENSHOTS, of an element
// or, with an empty selector, of the whole page. Without the variable it does
// nothing.
func (b *Tab) Picture(name, selector string) {
	b.T.Helper()
	dir := os.Getenv("REHEARSE_SCREENSHOTS")
	if dir == "" {
		return
	}
	shot := chromedp.FullScreenshot(100)
	if selector != "" {
		shot = chromedp.Screenshot(chromedp.CSS(selector))
	}
	png, err := chromedp.Run(b.Ctx, shot)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.T.Fatal(err)
	}
}

// CheckAccess asserts what a screen reader needs of any page, as it stands, and
// that each of more, expressions that list what is wrong, lists nothing.
func (b *Tab) CheckAccess(more map[string]string) {
	b.T.Helper()
	all := map[string]string{
		"ids used twice":              `[...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`,
		"tables without a caption":    `[...document.querySelectorAll("table:not(:has(> caption))")].map((e) => e.textContent.slice(0, 40))`,
		"headers without a scope":     `[...document.querySelectorAll("th:not([scope])")].map((e) => e.textContent)`,
		"pictures without a name":     `[...document.querySelectorAll("svg:not([aria-label]):not([aria-hidden])")].map((e) => e.outerHTML.slice(0, 80))`,
		"sections without a heading":  `[...document.querySelectorAll("main > section")].filter((e) => !document.getElementById(e.getAttribute("aria-labelledby"))).map((e) => e.outerHTML.slice(0, 80))`,
		"headings that skip a level":  `[...document.querySelectorAll("h1,h2,h3,h4,h5")].map((e) => +e.tagName[1]).filter((n, i, all) => i > 0 && n > all[i - 1] + 1).map(String)`,
		"scroll regions out of reach": `[...document.querySelectorAll(".scroll:not([tabindex])")].map((e) => e.className)`,
	}
	maps.Copy(all, more)
	for what, expression := range all {
		if got := Eval[[]string](b, expression); len(got) > 0 {
			b.T.Errorf("%s: %q", what, got)
		}
	}
}
