package reports

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestLossesAreGroupedAndCountedToTheLast(t *testing.T) {
	lane := record.LaneData{Lane: record.Lane{Name: "new"}}
	w := record.Window{Second: 3}
	w.Counts[record.OK], w.Counts[record.Refused], w.Counts[record.HTTP5xx] = 90, 7, 3
	lane.Windows = []record.Window{w}
	for i := range 4 {
		lane.Requests = append(lane.Requests, record.Request{Due: 3*second + int64(i), Class: "refused", Error: fmt.Sprintf("dial tcp 10.0.0.%d: connection refused", i)})
	}
	lane.Requests = append(lane.Requests,
		record.Request{Due: 3 * second, Class: "http-5xx", Status: 503, Pod: "canary-1"},
		record.Request{Due: 3 * second, Class: "ok", Latency: second}) // slow, not lost
	got, more := newLosses(&record.Record{Lanes: []record.LaneData{lane}})
	want := []Loss{
		{Lane: "new", Class: "refused", Count: 4, First: 3 * time.Second, Last: 3*time.Second + 3, Example: "dial tcp 10.0.0.0: connection refused"},
		{Lane: "new", Class: "http-5xx", Status: 503, Pod: "canary-1", Count: 1, First: 3 * time.Second, Last: 3 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if more != 5 {
		t.Errorf("%d of the 10 lost requests are told to be elsewhere, want 5", more)
	}
}

func TestLossesAreBounded(t *testing.T) {
	lane := record.LaneData{Lane: record.Lane{Name: "new"}}
	for i := range 100 {
		lane.Requests = append(lane.Requests, record.Request{Class: "refused", Pod: fmt.Sprint(i)})
	}
	if got, more := newLosses(&record.Record{Lanes: []record.LaneData{lane}}); len(got) != maxLosses || more != 100-maxLosses {
		t.Errorf("%d groups and %d more, want %d and %d", len(got), more, maxLosses, 100-maxLosses)
	}
}
