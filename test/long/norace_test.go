//go:build !race

package long

// rate is that of each lane, in requests a second.
const rate = 200
