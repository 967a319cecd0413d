//go:build race

package long

// rate is that of each lane: the race detector makes a request ten times as slow
// to count.
const rate = 20
