//go:build race

package judge_test

// underRace is true where the race detector watches: it makes a proof ten times
// as slow and sees nothing in statistics that it does not see in two of them.
const underRace = true
