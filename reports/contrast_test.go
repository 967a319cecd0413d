package reports

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast holds every text colour of the page to WCAG 2.2's 4.5 and every
// colour of a line or mark to its 3, on each background it stands on, in both
// themes (https://www.w3.org/TR/WCAG22/#contrast-minimum).
func TestContrast(t *testing.T) {
	css, err := assets.ReadFile("assets/report.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?m)^\s*(:root[^{]*)\{([^}]*)\}`).FindAllStringSubmatch(string(css), -1)
	if len(blocks) != 3 {
		t.Fatalf("found %d themes, want light, dark by choice and dark by the system", len(blocks))
	}
	for _, block := range blocks {
		colors := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+):\s*(#[0-9a-f]{6})`).FindAllStringSubmatch(block[2], -1) {
			colors[m[1]] = m[2]
		}
		check := func(least float64, backgrounds string, foregrounds ...string) {
			for _, b := range strings.Fields(backgrounds) {
				for _, f := range foregrounds {
					if got := contrast(t, colors[f], colors[b]); got < least {
						t.Errorf("%s: --%s on --%s has a contrast of %.2f, want %.1f", strings.TrimSpace(block[1]), f, b, got, least)
					}
				}
			}
		}
		check(4.5, "card soft bg", "ink", "muted", "accent", "good", "bad", "warn")
		check(4.5, "good-bg", "good", "ink", "muted")
		check(4.5, "bad-bg", "bad", "ink", "muted")
		check(4.5, "warn-bg", "warn", "ink", "muted")
		check(4.5, "accent", "card") // the word on a node's upgrade
		check(3, "card", "lane-1", "lane-2", "lane-3", "lane-4", "control")
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
}

// luminance is WCAG's relative luminance of #rrggbb.
func luminance(t *testing.T, color string) float64 {
	t.Helper()
	if len(color) != 7 {
		t.Fatalf("%q is no colour", color)
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(color[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(fmt.Errorf("%q is no colour: %w", color, err))
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
