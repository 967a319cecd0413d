package reports

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/kube-rehearse/rehearse/test/chromium"
)

// drawnAfter opens f's page and returns how many milliseconds after the begin of
// its navigation everything was parsed, run and drawn: uPlot draws before the
// load event.
func drawnAfter(ctx context.Context, t *testing.T, f fixture) float64 {
	t.Helper()
	b := open(ctx, t, f, 1280, 900)
	b.until(`performance.getEntriesByType("navigation")[0].loadEventEnd > 0`)
	if got := chromium.Eval[int](b.Tab, `[...document.querySelectorAll("#panels canvas")].filter((c) => c.width > 100).length`); got < 3 {
		t.Fatalf("%s: %d charts are drawn, want one of each lane", f.name, got)
	}
	return chromium.Eval[float64](b.Tab, `performance.getEntriesByType("navigation")[0].loadEventEnd`)
}

// TestReportOfEightHoursOpensInTime: what a page shows is bounded, so that the
// report of a long run opens nearly as fast as that of a short one. What it prints
// is what make bench measures.
func TestReportOfEightHoursOpensInTime(t *testing.T) {
	ctx := chromium.Start(t)
	long, short := fixture{"long", longRecord(), goVerdict()}, fixture{"short", loaded(goRecord()), goVerdict()}
	var ratios, of8, of10 []float64
	drawnAfter(ctx, t, short) // the browser itself warms up
	for range 5 {
		s, l := drawnAfter(ctx, t, short), drawnAfter(ctx, t, long)
		of10, of8, ratios = append(of10, s), append(of8, l), append(ratios, l/s)
	}
	for _, x := range [][]float64{of8, of10, ratios} {
		slices.Sort(x)
	}
	fmt.Printf("report of 8 h drawn after %.0f ms [%.0f, %.0f], of 10 min after %.0f ms, ratio %.1f\n", of8[2], of8[0], of8[4], of10[2], ratios[2])
	if ratios[2] > 5 {
		t.Errorf("the report of eight hours takes %.1f times as long to draw as that of ten minutes: %v and %v ms", ratios[2], of8, of10)
	}
}

// TestOneSecondOfEightHoursIsDrawn looks at the pixels: a second that lost all its
// requests stands in the chart of what was lost, where it belongs, and nothing
// else does.
func TestOneSecondOfEightHoursIsDrawn(t *testing.T) {
	b := open(chromium.Start(t), t, fixture{"long", longRecord(), goVerdict()}, 1280, 900)
	b.Picture("report-eight-hours", "#timeline")
	const columns = `(() => {
		const panel = [...document.querySelectorAll(".panel")].find((p) => p.querySelector("h3")?.textContent === "Lost a second");
		const canvas = panel.querySelector("canvas"), all = canvas.getBoundingClientRect(), plot = panel.querySelector(".u-over").getBoundingClientRect();
		const scale = canvas.width / all.width, w = Math.round(plot.width * scale), h = Math.round(plot.height * scale);
		const px = canvas.getContext("2d").getImageData(Math.round((plot.left - all.left) * scale), Math.round((plot.top - all.top) * scale), w, h).data;
		const found = [];
		for (let x = 0; x < w; x++) {
			let colored = 0;
			for (let y = 0; y < h; y++) {
				const [r, g, b, a] = px.subarray(4 * (y * w + x), 4 * (y * w + x) + 4);
				if (a > 40 && Math.max(r, g, b) - Math.min(r, g, b) > 60) colored++;
			}
			if (colored > h / 2) found.push(x / w);
		}
		return found;
	})()`
	// The page shows from the run's start to 1% beyond its end.
	const at = 9000 / (28_800 * 1.01)
	found := chromium.Eval[[]float64](b.Tab, columns)
	if len(found) == 0 {
		t.Fatal("the second without an answer is not drawn")
	}
	for _, x := range found {
		if math.Abs(x-at) > 0.004 {
			t.Errorf("something is drawn at %.4f of the width, the outage is at %.4f", x, at)
		}
	}
	if got, want := b.text(".panel.lane output"), "shown: lost 100 of 2,880,000, highest p99 "; len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("lane new reads %q", got)
	}
	b.Quiet()
}
