package record

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestFrameBytes holds the format: records must stay readable, so these bytes
// may change only together with frameVersion.
func TestFrameBytes(t *testing.T) {
	w := Window{Second: 300, NewConns: 1}
	w.Counts[OK], w.Counts[Unsent] = 2, 1
	w.Latency.Add(5)
	w.Latency.Add(5000)
	w.SendLag.AddN(0, 2)
	w.Spans = []Span{{Kind: SpanUnsent, First: 300e9 + 7, Last: 300e9 + 7, Count: 1}}
	got := hex.EncodeToString(appendFrame(appendHeader(nil, "new"), &w))
	const want = "52484c46" + "0100" + "0300" + "6e6577" + "7b36395d" + // magic, version, lane, crc
		"16000000" + "34cbaff9" + "cbf98888" + // length, crc, check
		"ac02" + "8140" + "02" + "01" + "01" + "00" + // second 300; classes 0 and 13: 2, 1; newConns, dropped
		"02" + "0601" + "dd1901" + "01" + "0102" + // latency in buckets 5 and 3298, send lag in bucket 0
		"01" + "01" + "07" + "00" + "01" // one span
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzDecodeFrames(f *testing.F) {
	empty := appendHeader(nil, "new")
	f.Add(empty)
	f.Add(empty[:7])
	whole := empty
	for _, second := range []int64{0, 1, 90} {
		w := testWindow(second)
		whole = appendFrame(whole, &w)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append(whole[:len(whole):len(whole)], make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		windows, torn, err := decodeFrames("load/new.frames", "new", data)
		if err != nil {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Offset < 0 || corrupt.Offset > int64(len(data)) {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		end := int64(len(data))
		if torn >= 0 {
			end = torn
		}
		if end == 0 {
			return
		}
		// What was read is written back the same, up to the widths of integers.
		out := appendHeader(nil, "new")
		for i := range windows {
			if err := windows[i].check(); err != nil {
				t.Fatal(err)
			}
			out = appendFrame(out, &windows[i])
		}
		again, torn, err := decodeFrames("load/new.frames", "new", out)
		if err != nil || torn != -1 {
			t.Fatalf("written back: torn %d, %v", torn, err)
		}
		if reflect.DeepEqual(windows, again) {
			return // ten times as many inputs a second as by cmp
		}
		if diff := cmp.Diff(windows, again, cmp.AllowUnexported(Histogram{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecodeWindow reaches behind the checksums, which keep random changes from
// the decoder proper.
func FuzzDecodeWindow(f *testing.F) {
	for _, second := range []int64{0, 1, 90} {
		w := testWindow(second)
		f.Add(appendWindow(nil, &w))
	}
	f.Add(appendWindow(nil, &Window{}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		w, err := decodeWindow(payload)
		if err != nil {
			return
		}
		again, err := decodeWindow(appendWindow(nil, &w))
		if err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(w, again) {
			return
		}
		if diff := cmp.Diff(w, again, cmp.AllowUnexported(Histogram{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeLines(f *testing.F) {
	f.Add([]byte(`{"due":1,"sent":2,"latency":3,"class":"ok","reused":true}` + "\n"))
	f.Add([]byte(`{"due":1,"sent":2,"latency":3,"class":"reset","reused":false,"error":"x"}` + "\n" + `{"due"`))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n\n"))
	f.Add(make([]byte, 9))
	f.Fuzz(func(t *testing.T, data []byte) {
		requests, torn, err := decodeLines("f", data, (*Request).check)
		if err != nil {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Offset < 0 || corrupt.Offset >= int64(len(data)) {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		if torn < 0 && len(data) > 0 && data[len(data)-1] != '\n' {
			t.Fatal("a last line without its end was not reported")
		}
		for _, r := range requests {
			if _, ok := ParseClass(r.Class); !ok {
				t.Fatalf("class %q", r.Class)
			}
		}
	})
}
