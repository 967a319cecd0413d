// Package chromium opens the pages that reports writes and serves in a headless
// Chromium, for the tests of both, and hears what a page complains of.
package chromium

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Start starts one headless Chromium for a test and its subtests; it ends with
// the test. The browser finds no host but those named. Without Chromium the test
// is skipped, except in CI, where that is a failure: run hack/chromium.sh.
func Start(t *testing.T, hosts ...string) context.Context {
	t.Helper()
	resolve := []string{"MAP * ~NOTFOUND"}
	for _, h := range hosts {
		resolve = append(resolve, "EXCLUDE "+h)
	}
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", strings.Join(resolve, ", ")),
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

// Action is something done to a page.
type Action = chromedp.Action[chromedp.Void]

// Call is the action of a command of the browser's protocol.
func Call[P, R any](command cdp.Command[P, R], params P) Action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}
