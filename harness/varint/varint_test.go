package varint_test

import (
	"testing"

	"github.com/kube-rehearse/rehearse/harness/varint"
)

func TestReaderStopsAtTheFirstMistake(t *testing.T) {
	for _, tc := range []struct {
		name string
		b    []byte
		err  string
	}{
		{"whole", []byte{0xac, 0x02, 7}, ""},
		{"no number", nil, "the frame ends within the size"},
		{"half a number", []byte{0xac}, "the frame ends within the size"},
		{"a number too large", []byte{0xad, 0x02, 7}, "the size is 301; at most 300 is possible"},
		{"no byte", []byte{0xac, 0x02}, "the frame ends within the class"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := varint.Reader{Of: "frame", B: tc.b}
			size, class := r.Uvarint("the size", 300), r.Byte("the class")
			if tc.err == "" {
				if r.Err != nil || size != 300 || class != 7 || len(r.B) != 0 {
					t.Errorf("got %d, %d, %d bytes left, %v", size, class, len(r.B), r.Err)
				}
				return
			}
			if r.Err == nil || r.Err.Error() != tc.err {
				t.Errorf("got %v, want %s", r.Err, tc.err)
			}
			if again := r.Uvarint("more", 300); again != 0 || class != 0 {
				t.Errorf("read %d and %d after the mistake", class, again)
			}
		})
	}
}
