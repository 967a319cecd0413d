package agent

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/varint"
)

// What PathTold answers is a sequence of entries, the first of them KindHead.
// Fixed-width integers are little-endian, "uvarint" is that of encoding/binary:
//
//	entry  = kind:byte length:uint32 crc:uint32 payload:[length]byte
//
// where crc is the CRC-32C of kind, length and payload. KindHead and KindEvent hold
// JSON, a Head and a timeline.Event. KindSecond holds a load.Second of a lane:
//
//	second   = lane:uvarint second:uvarint first:uvarint slots:uvarint run* lag* latency* requests
//	run      = count:uvarint class:byte      the classes of all slots, in runs; bit 7 is Opened
//	lag      = uvarint                       of each slot that was sent
//	latency  = uvarint                       the same
//	requests = JSON of []record.Request, or nothing
//
// That is 3 to 5 bytes a slot.
const (
	KindHead   = 1
	KindSecond = 2
	KindEvent  = 3
)

const (
	entryHead = 9
	maxEntry  = 16 << 20
	// maxSlots bounds the slots of a second: the highest rate, and one more.
	maxSlots  = 100_001
	maxSecond = 1 << 33 // keeps nanoseconds within an int64
	openedBit = 0x80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCut is in the error of ReadEntry for an entry whose end is missing: the
// connection broke, and it is asked for again.
var ErrCut = errors.New("the answer is cut short")

// AppendEntry appends an entry to b.
func AppendEntry(b []byte, kind byte, payload []byte) []byte {
	start := len(b)
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, checksum(b[start:start+5], payload))
	return append(b, payload...)
}

func checksum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
}

// ReadEntry reads the first entry of b and returns what follows it.
func ReadEntry(b []byte) (kind byte, payload, rest []byte, err error) {
	if len(b) < entryHead {
		return 0, nil, nil, ErrCut
	}
	n := binary.LittleEndian.Uint32(b[1:])
	if n > maxEntry {
		return 0, nil, nil, fmt.Errorf("an entry of %d bytes; the longest possible is %d", n, maxEntry)
	}
	if len(b) < entryHead+int(n) {
		return 0, nil, nil, ErrCut
	}
	payload = b[entryHead : entryHead+int(n)]
	if checksum(b[:5], payload) != binary.LittleEndian.Uint32(b[5:]) {
		return 0, nil, nil, errors.New("an entry is damaged: its checksum does not match")
	}
	return b[0], payload, b[entryHead+int(n):], nil
}

// appendSecond appends the payload of a second of lane.
func appendSecond(b []byte, lane int, s *load.Second) ([]byte, error) {
	for _, v := range []int64{int64(lane), s.Second, s.First, int64(len(s.Slots))} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	of := func(s *load.Slot) byte {
		if s.Opened {
			return byte(s.Class) | openedBit
		}
		return byte(s.Class)
	}
	for i := 0; i < len(s.Slots); {
		class, n := of(&s.Slots[i]), 1
		for i+n < len(s.Slots) && of(&s.Slots[i+n]) == class {
			n++
		}
		b = append(binary.AppendUvarint(b, uint64(n)), class)
		i += n
	}
	for i := range s.Slots {
		if s.Slots[i].Class != record.Unsent {
			b = binary.AppendUvarint(b, uint64(s.Slots[i].Lag))
		}
	}
	for i := range s.Slots {
		if s.Slots[i].Class != record.Unsent {
			b = binary.AppendUvarint(b, uint64(s.Slots[i].Latency))
		}
	}
	if len(s.Requests) == 0 {
		return b, nil
	}
	text, err := json.Marshal(s.Requests)
	return append(b, text...), err
}

// ReadSecond reads the payload of an entry of KindSecond.
func ReadSecond(payload []byte) (lane int, s *load.Second, err error) {
	r := varint.Reader{Of: "entry", B: payload}
	lane = int(r.Uvarint("the lane", math.MaxInt32))
	s = &load.Second{Second: int64(r.Uvarint("the second", maxSecond)), First: int64(r.Uvarint("the first slot", math.MaxInt64))}
	n := int(r.Uvarint("the number of slots", maxSlots))
	if r.Err == nil && n > 0 {
		s.Slots = make([]load.Slot, n)
	}
	for i := 0; i < n && r.Err == nil; {
		run := int(r.Uvarint("a run of classes", uint64(n-i)))
		class := r.Byte("a class")
		if r.Err == nil && (run == 0 || int(class&^openedBit) >= record.NumClasses) {
			r.Err = fmt.Errorf("a run of %d slots of class %d", run, class&^openedBit)
		}
		if r.Err != nil {
			break
		}
		for ; run > 0; run-- {
			s.Slots[i].Class, s.Slots[i].Opened = record.Class(class&^openedBit), class&openedBit != 0
			i++
		}
	}
	for i := range s.Slots {
		if s.Slots[i].Class != record.Unsent {
			s.Slots[i].Lag = uint32(r.Uvarint("a send lag", math.MaxUint32))
		}
	}
	for i := range s.Slots {
		if s.Slots[i].Class != record.Unsent {
			s.Slots[i].Latency = uint32(r.Uvarint("a latency", math.MaxUint32))
		}
	}
	if r.Err != nil {
		return 0, nil, r.Err
	}
	if len(r.B) > 0 {
		if err := json.Unmarshal(r.B, &s.Requests); err != nil {
			return 0, nil, fmt.Errorf("the single requests: %w", err)
		}
	}
	for i := range s.Requests {
		if _, ok := record.ParseClass(s.Requests[i].Class); !ok {
			return 0, nil, fmt.Errorf("a single request of the unknown class %q", s.Requests[i].Class)
		}
	}
	return lane, s, nil
}
