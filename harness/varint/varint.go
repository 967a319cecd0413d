// Package varint reads binary formats made of unsigned varints and bytes, up to
// the first mistake: a decoder asks for one field after another, and looks at
// Err once, or where it would otherwise go on for long.
package varint

import (
	"encoding/binary"
	"fmt"
)

// Reader reads a message. After the first mistake it returns zeros.
type Reader struct {
	Of  string // what is read, for errors: "frame"
	B   []byte // what is left
	Err error  // the first mistake
}

// Uvarint reads a field that is at most limit. What names it in errors.
func (r *Reader) Uvarint(what string, limit uint64) uint64 {
	if r.Err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.B)
	if n <= 0 {
		r.Err = fmt.Errorf("the %s ends within %s", r.Of, what)
		return 0
	}
	if v > limit {
		r.Err = fmt.Errorf("%s is %d; at most %d is possible", what, v, limit)
		return 0
	}
	r.B = r.B[n:]
	return v
}

// Byte reads a field of one byte. What names it in errors.
func (r *Reader) Byte(what string) byte {
	if r.Err != nil {
		return 0
	}
	if len(r.B) == 0 {
		r.Err = fmt.Errorf("the %s ends within %s", r.Of, what)
		return 0
	}
	c := r.B[0]
	r.B = r.B[1:]
	return c
}
