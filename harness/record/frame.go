package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/kube-rehearse/rehearse/harness/varint"
)

// The format of load/<lane>.frames, version 1. All fixed-width integers are
// little-endian, "uvarint" is that of encoding/binary.
//
//	file   = header frame*
//	header = "RHLF" version:uint16 length:uint16 lane:[length]byte crc:uint32
//	frame  = length:uint32 crc:uint32 check:uint32 payload:[length]byte
//
// A header's crc is the CRC-32C of all before it. A frame's crc is the CRC-32C
// of its payload and check that of the eight bytes before it, so that a wrong
// length cannot pass for a torn frame. A payload is one Window:
//
//	second:uvarint
//	classes:uvarint               bit c set: the count of Class c follows
//	count:uvarint                 for each bit set, lowest first
//	newConns:uvarint dropped:uvarint
//	latency:histogram sendLag:histogram
//	spans:uvarint span*           span = kind:byte first:uvarint length:uvarint count:uvarint
//
// where first counts from the window's start and length is Last - First, both
// in nanoseconds, and
//
//	histogram = buckets:uvarint (step:uvarint count:uvarint)*
//
// where step is the distance from the previous bucket's index (from -1).
const (
	frameMagic   = "RHLF"
	frameVersion = 1
	frameHead    = 12
	// maxFrame bounds a frame's payload against a hostile length.
	maxFrame = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHeader appends the header of the file of lane.
func appendHeader(b []byte, lane string) []byte {
	start := len(b)
	b = append(b, frameMagic...)
	b = binary.LittleEndian.AppendUint16(b, frameVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(lane)))
	b = append(b, lane...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// appendFrame appends w as one frame.
func appendFrame(b []byte, w *Window) []byte {
	start := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = appendWindow(b, w)
	payload := b[start+frameHead:]
	head := b[start : start+frameHead]
	binary.LittleEndian.PutUint32(head, uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(head[:8], castagnoli))
	return b
}

func appendWindow(b []byte, w *Window) []byte {
	b = binary.AppendUvarint(b, uint64(w.Second))
	var mask uint64
	for c, n := range w.Counts {
		if n > 0 {
			mask |= 1 << c
		}
	}
	b = binary.AppendUvarint(b, mask)
	for _, n := range w.Counts {
		if n > 0 {
			b = binary.AppendUvarint(b, n)
		}
	}
	b = binary.AppendUvarint(b, w.NewConns)
	b = binary.AppendUvarint(b, w.Dropped)
	b = appendHistogram(b, &w.Latency)
	b = appendHistogram(b, &w.SendLag)
	b = binary.AppendUvarint(b, uint64(len(w.Spans)))
	for _, s := range w.Spans {
		b = append(b, byte(s.Kind))
		b = binary.AppendUvarint(b, uint64(s.First-w.Second*1e9))
		b = binary.AppendUvarint(b, uint64(s.Last-s.First))
		b = binary.AppendUvarint(b, s.Count)
	}
	return b
}

func appendHistogram(b []byte, h *Histogram) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.buckets)))
	prev := int64(-1)
	for _, bucket := range h.buckets {
		b = binary.AppendUvarint(b, uint64(int64(bucket.Index)-prev))
		b = binary.AppendUvarint(b, uint64(bucket.Count))
		prev = int64(bucket.Index)
	}
	return b
}

// decodeFrames reads a whole frames file of lane. Torn is the offset of a last
// frame that was not written out, or -1. Everything else that is not as
// appendHeader and appendFrame write it is an error.
func decodeFrames(file, lane string, data []byte) (windows []Window, torn int64, err error) {
	if len(data) == 0 {
		return nil, 0, nil // killed between opening the file and its first write
	}
	offset, err := decodeHeader(file, lane, data)
	if err != nil {
		return nil, -1, err
	}
	bad := func(format string, args ...any) error {
		return &CorruptError{File: file, Offset: int64(offset), What: fmt.Sprintf(format, args...)}
	}
	for offset < len(data) {
		rest := data[offset:]
		// A machine that lost power may leave zeros where the frame was to come.
		if len(rest) < frameHead || len(bytes.TrimLeft(rest, "\x00")) == 0 {
			return windows, int64(offset), nil
		}
		if binary.LittleEndian.Uint32(rest[8:]) != crc32.Checksum(rest[:8], castagnoli) {
			return nil, -1, bad("the frame's head is damaged: its checksum does not match")
		}
		n := binary.LittleEndian.Uint32(rest)
		if n > maxFrame {
			return nil, -1, bad("a frame of %d bytes; the longest possible is %d", n, maxFrame)
		}
		if int(n) > len(rest)-frameHead {
			return windows, int64(offset), nil
		}
		payload := rest[frameHead : frameHead+int(n)]
		if binary.LittleEndian.Uint32(rest[4:]) != crc32.Checksum(payload, castagnoli) {
			return nil, -1, bad("the frame is damaged: its checksum does not match")
		}
		w, err := decodeWindow(payload)
		if err != nil {
			return nil, -1, bad("%s", err)
		}
		if len(windows) > 0 && w.Second <= windows[len(windows)-1].Second {
			return nil, -1, bad("second %d comes after second %d", w.Second, windows[len(windows)-1].Second)
		}
		windows = append(windows, w)
		offset += frameHead + int(n)
	}
	return windows, -1, nil
}

func decodeHeader(file, lane string, data []byte) (int, error) {
	bad := func(offset int, format string, args ...any) (int, error) {
		return 0, &CorruptError{File: file, Offset: int64(offset), What: fmt.Sprintf(format, args...)}
	}
	const fixed = len(frameMagic) + 4
	if len(data) < fixed {
		return bad(len(data), "the header is cut short")
	}
	if string(data[:len(frameMagic)]) != frameMagic {
		return bad(0, "not a file of load frames: it begins with %q instead of %q", data[:len(frameMagic)], frameMagic)
	}
	if v := binary.LittleEndian.Uint16(data[4:]); v != frameVersion {
		return bad(4, "format version %d; this version of rehearse reads version %d", v, frameVersion)
	}
	n := int(binary.LittleEndian.Uint16(data[6:]))
	if len(data) < fixed+n+4 {
		return bad(len(data), "the header is cut short")
	}
	if binary.LittleEndian.Uint32(data[fixed+n:]) != crc32.Checksum(data[:fixed+n], castagnoli) {
		return bad(0, "the header is damaged: its checksum does not match")
	}
	if got := string(data[fixed : fixed+n]); got != lane {
		return bad(fixed, "holds lane %q instead of %q", got, lane)
	}
	return fixed + n + 4, nil
}

// Limits that no real window comes near, so that sums cannot overflow.
const (
	maxCount  = 1 << 40
	maxSecond = 1 << 33 // keeps nanoseconds within an int64
)

func decodeWindow(payload []byte) (Window, error) {
	r := &varint.Reader{Of: "frame", B: payload}
	var w Window
	w.Second = int64(r.Uvarint("the second", maxSecond))
	mask := r.Uvarint("the class set", 1<<63)
	if mask >= 1<<NumClasses {
		return w, fmt.Errorf("unknown outcome class %d", bits.Len64(mask)-1)
	}
	for c := range w.Counts {
		if mask&(1<<c) != 0 {
			w.Counts[c] = r.Uvarint("a class's count", maxCount)
		}
	}
	w.NewConns = r.Uvarint("the number of connections", maxCount)
	w.Dropped = r.Uvarint("the number of dropped requests", maxCount)
	readHistogram(r, "latency", &w.Latency)
	readHistogram(r, "send lag", &w.SendLag)
	readSpans(r, &w)
	if r.Err != nil {
		return w, r.Err
	}
	if len(r.B) > 0 {
		return w, fmt.Errorf("%d bytes follow the window", len(r.B))
	}
	return w, w.check()
}

func readHistogram(r *varint.Reader, what string, h *Histogram) {
	n := r.Uvarint("the buckets of "+what, uint64(len(r.B)))
	if r.Err != nil || n == 0 {
		return
	}
	h.buckets = make([]Bucket, 0, min(n, uint64(len(r.B)/2)))
	index := int64(-1)
	for range n {
		step := r.Uvarint("a bucket of "+what, uint64(maxBucket)+1)
		count := r.Uvarint("a count of "+what, math.MaxUint32)
		if r.Err != nil {
			return
		}
		index += int64(step)
		if step == 0 || index > int64(maxBucket) || count == 0 {
			r.Err = fmt.Errorf("a bucket of %s is empty or out of order", what)
			return
		}
		h.buckets = append(h.buckets, Bucket{Index: uint32(index), Count: uint32(count)})
		h.count += count
	}
}

func readSpans(r *varint.Reader, w *Window) {
	n := r.Uvarint("the number of spans", MaxSpans)
	for range n {
		s := Span{Kind: SpanKind(r.Byte("a span"))}
		if r.Err != nil {
			return
		}
		s.First = w.Second*1e9 + int64(r.Uvarint("a span's start", 1e9-1))
		s.Last = s.First + int64(r.Uvarint("a span's length", 1e9-1))
		s.Count = r.Uvarint("a span's count", maxCount)
		w.Spans = append(w.Spans, s)
	}
}

// check reports what makes w impossible: sums that do not add up, spans outside
// the window or out of order.
func (w *Window) check() error {
	if w.Second < 0 || w.Second > maxSecond {
		return fmt.Errorf("second %d is outside every run", w.Second)
	}
	for c, n := range w.Counts {
		if n > maxCount {
			return fmt.Errorf("%d slots of class %s in one second", n, Class(c))
		}
	}
	if got, want := w.Latency.Count(), w.Counts[OK]; got != want {
		return fmt.Errorf("latencies of %d requests, but %d were answered ok", got, want)
	}
	if got, want := w.SendLag.Count(), w.Sent(); got != want {
		return fmt.Errorf("send lags of %d requests, but %d were sent", got, want)
	}
	if w.NewConns > w.Sent() {
		return fmt.Errorf("%d connections were opened for %d requests", w.NewConns, w.Sent())
	}
	if w.Dropped > w.Sent() {
		return fmt.Errorf("%d single records were dropped of %d requests", w.Dropped, w.Sent())
	}
	return w.checkSpans()
}

func (w *Window) checkSpans() error {
	if len(w.Spans) > MaxSpans {
		return fmt.Errorf("%d spans; at most %d are possible", len(w.Spans), MaxSpans)
	}
	var byKind [3]uint64
	end := int64(-1)
	for _, s := range w.Spans {
		if s.Kind > SpanStalled {
			return fmt.Errorf("unknown kind of span %d", s.Kind)
		}
		if s.First < w.Second*1e9 || s.Last < s.First || s.Last >= (w.Second+1)*1e9 || s.Count == 0 || s.Count > maxCount {
			return fmt.Errorf("a span of %d slots from %d to %d ns does not fit second %d", s.Count, s.First, s.Last, w.Second)
		}
		if s.First <= end {
			return fmt.Errorf("a span at %d ns begins before the one ahead of it has ended", s.First)
		}
		end = s.Last
		byKind[s.Kind] += s.Count
	}
	want := [3]uint64{SpanFailed: w.Failed(), SpanUnsent: w.Counts[Unsent], SpanStalled: w.Counts[OK]}
	for kind, n := range byKind {
		// Only stalls are a part of their class, and only a full list is cut.
		exact := SpanKind(kind) != SpanStalled && len(w.Spans) < MaxSpans
		if n > want[kind] || exact && n != want[kind] {
			return fmt.Errorf("spans of kind %d hold %d slots, the counts say %d", kind, n, want[kind])
		}
	}
	return nil
}
