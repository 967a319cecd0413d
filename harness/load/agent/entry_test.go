package agent

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// someSecond is a second as a busy lane has it.
func someSecond(r *rand.Rand, slots int) *load.Second {
	s := &load.Second{Second: 4711, First: 123_456, Slots: make([]load.Slot, slots)}
	for i := range s.Slots {
		x := &s.Slots[i]
		x.Lag = uint32(20 + r.IntN(150))
		x.Latency = x.Lag + uint32(800+r.IntN(6000))
		x.Opened = true
		switch {
		case i%97 == 0:
			x.Class = record.Reset
		case i%89 == 0:
			*x = load.Slot{Class: record.Unsent}
		}
	}
	return s
}

func TestSecondRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []*load.Second{
		{Second: 0},
		{Second: 12, First: 7, Slots: []load.Slot{{Class: record.Unsent}}},
		{Second: 12, First: 7, Slots: []load.Slot{{Lag: 1<<32 - 1, Latency: 1<<32 - 1, Class: record.Other}}, Requests: []record.Request{{Due: 12e9, Class: "other", Error: "<&>", Pod: "p"}}},
		someSecond(r, 1000),
	} {
		payload, err := appendSecond(nil, 3, s)
		if err != nil {
			t.Fatal(err)
		}
		b := AppendEntry([]byte("before"), KindSecond, payload)[len("before"):]
		kind, got, rest, err := ReadEntry(append(b, 'x'))
		if err != nil || kind != KindSecond || string(rest) != "x" {
			t.Fatalf("kind %d, rest %q, %v", kind, rest, err)
		}
		lane, back, err := ReadSecond(got)
		if err != nil || lane != 3 {
			t.Fatal(lane, err)
		}
		if diff := cmp.Diff(s, back); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
		if n := len(s.Slots); n >= 1000 {
			if each := float64(len(b)) / float64(n); each > 5 {
				t.Errorf("%.1f bytes a slot; the protocol's documentation says 3 to 5", each)
			}
		}
		for cut := range b {
			if _, _, _, err := ReadEntry(b[:cut]); !errors.Is(err, ErrCut) {
				t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
			}
		}
	}
}

func TestDamagedEntries(t *testing.T) {
	whole := AppendEntry(nil, KindEvent, []byte("{}"))
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x10
		if _, _, _, err := ReadEntry(b); err == nil {
			t.Errorf("byte %d was changed, and nobody noticed", i)
		}
	}
	long := append([]byte{KindEvent, 1, 0, 0, 1}, make([]byte, 10)...)
	if _, _, _, err := ReadEntry(long); err == nil || err.Error() != "an entry of 16777217 bytes; the longest possible is 16777216" {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		payload []byte
		want    string
	}{
		"nothing":          {nil, "the entry ends within the lane"},
		"too many slots":   {[]byte{0, 1, 0, 0xff, 0xff, 0xff, 0x7f}, "the number of slots is 268435455; at most 100001 is possible"},
		"a run of none":    {[]byte{0, 1, 0, 2, 0, 0}, "a run of 0 slots of class 0"},
		"an unknown class": {[]byte{0, 1, 0, 1, 1, 99}, "a run of 1 slots of class 99"},
		"no latency":       {[]byte{0, 1, 0, 1, 1, 0, 5}, "the entry ends within a latency"},
		"other requests":   {[]byte{0, 1, 0, 0, '{'}, "the single requests: unexpected end of JSON input"},
		"another class":    {append([]byte{0, 1, 0, 0}, `[{"class":"odd"}]`...), `a single request of the unknown class "odd"`},
	} {
		if _, _, err := ReadSecond(c.payload); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func FuzzReadSecond(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 30} {
		payload, _ := appendSecond(nil, 1, someSecond(r, n))
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		lane, s, err := ReadSecond(payload)
		if err != nil {
			return
		}
		again, err := appendSecond(nil, lane, s)
		if err != nil {
			t.Fatal(err)
		}
		_, back, err := ReadSecond(again)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if len(s.Requests) == 0 { // JSON has many ways
			s.Requests, back.Requests = nil, nil
		}
		if diff := cmp.Diff(s, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzReadEntry(f *testing.F) {
	f.Add(AppendEntry(AppendEntry(nil, KindHead, []byte("{}")), KindSecond, []byte{0, 1, 0, 0}))
	f.Add([]byte(strings.Repeat("\x00", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			kind, payload, rest, err := ReadEntry(b)
			if err != nil {
				return
			}
			if again := AppendEntry(nil, kind, payload); string(again) != string(b[:len(b)-len(rest)]) {
				t.Fatal("an entry is not what it was written as")
			}
			b = rest
		}
	})
}
