package serve

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache(100)
	for i := range 50 {
		c.put(fmt.Sprint(i), page{print: "p", body: make([]byte, 30)})
		c.get("0", "p") // stays, because it is asked for
	}
	if c.held > 100 || len(c.pages) != 3 || len(c.order) != 3 {
		t.Errorf("%d bytes in %d pages are held", c.held, len(c.pages))
	}
	if _, ok := c.get("0", "p"); !ok {
		t.Errorf("the page that was asked for last is gone; there are %v", slices.Sorted(maps.Keys(c.pages)))
	}
	if _, ok := c.get("0", "other"); ok {
		t.Error("a page of other evidence was returned")
	}
	c.put("0", page{body: make([]byte, 1000)})
	if c.held != 0 || len(c.pages) != 0 {
		t.Errorf("a page beyond the bound leaves %d bytes", c.held)
	}
}
