package sim

import (
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
)

// Clusters are made side by side, and share nothing that one of them writes: the
// race detector tells.
func TestClientsShareNothing(t *testing.T) {
	before := len(scheme.Scheme.AllKnownTypes())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { newSimulation(t.Context(), spec(1, 1), Options{Scale: 10, Log: testLog(t)}) })
	}
	wg.Wait()
	if after := len(scheme.Scheme.AllKnownTypes()); after != before {
		t.Errorf("client-go's own scheme had %d kinds, and has %d", before, after)
	}
}
