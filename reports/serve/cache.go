package serve

import (
	"slices"
	"sync"
)

// maxCached bounds the bytes of the pages that are kept.
const maxCached = 32 << 20

// page is a page that took a whole record to make.
type page struct {
	print  string // of the evidence that it was made of
	status int
	body   []byte
	policy string
}

// cache keeps the pages that were asked for last, up to limit bytes of them.
type cache struct {
	limit int

	mu    sync.Mutex
	held  int
	pages map[string]page
	order []string // least recently used first
}

func newCache(limit int) *cache { return &cache{limit: limit, pages: map[string]page{}} }

// get returns the page called key if it was made of what print stands for.
func (c *cache) get(key, print string) (page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pages[key]
	if !ok || p.print != print {
		return page{}, false
	}
	c.touch(key)
	return p, true
}

func (c *cache) put(key string, p page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held += len(p.body) - len(c.pages[key].body)
	c.pages[key] = p
	c.touch(key)
	for c.held > c.limit {
		oldest := c.order[0]
		c.order = c.order[1:]
		c.held -= len(c.pages[oldest].body)
		delete(c.pages, oldest)
	}
}

func (c *cache) touch(key string) {
	if i := slices.Index(c.order, key); i >= 0 {
		c.order = slices.Delete(c.order, i, i+1)
	}
	c.order = append(c.order, key)
}
