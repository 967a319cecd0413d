package record

// Class is the outcome of one slot of load. The set is closed: whatever an
// error's text, it falls into one of these.
type Class uint8

// Outcome classes.
const (
	OK              Class = iota
	Refused               // connection refused: nothing listens
	Reset                 // connection reset or closed before a whole answer came
	TimeoutConnect        // no connection within the timeout
	TimeoutResponse       // connected, but no whole answer within the timeout
	Unreachable           // no route to host or network
	DNS                   // the name did not resolve
	TLS                   // handshake or certificate
	HTTP4xx               // also 3xx that was not asked for
	HTTP5xx               //
	Truncated             // body shorter than announced
	WrongBody             // body other than expected
	Other                 // anything else; its text is in the request record
	Unsent                // the slot was due and nothing was sent: the runner's fault, never the target's
	NumClasses      = int(iota)
)

var classNames = [NumClasses]string{
	"ok", "refused", "reset", "timeout-connect", "timeout-response", "unreachable", "dns", "tls",
	"http-4xx", "http-5xx", "truncated", "wrong-body", "other", "unsent",
}

// String returns the class's name as the record and the reports spell it.
func (c Class) String() string {
	if int(c) < NumClasses {
		return classNames[c]
	}
	return "invalid"
}

// ParseClass returns the class that is spelled name.
func ParseClass(name string) (Class, bool) {
	for i, n := range classNames {
		if n == name {
			return Class(i), true
		}
	}
	return 0, false
}

// Failed reports whether the class is an error of the target: neither ok nor unsent.
func (c Class) Failed() bool { return c != OK && c != Unsent }

// Window is one second of one lane, as one frame of load/<lane>.frames. A
// request counts in the window in which it was due, whenever its answer came.
type Window struct {
	// Second is the window's offset from the run's start, in whole seconds.
	Second int64
	// Counts holds the slots due in the window by outcome; their sum is the
	// number of slots due.
	Counts [NumClasses]uint64
	// Latency holds the corrected latency (completion minus due time) of the
	// requests with outcome OK, in microseconds.
	Latency Histogram
	// SendLag holds how late each request was sent (first byte handed to the
	// transport minus due time), in microseconds.
	SendLag Histogram
	// NewConns counts the requests that opened a connection.
	NewConns uint64
	// Spans are the stretches in which slots were not served as due, in order of
	// First. Empty when every slot was answered OK without a stall. At most
	// MaxSpans: where there were more, the first, the last and the longest.
	Spans []Span
	// Dropped counts the failed and slow requests of the window that were not
	// written singly because the lane had reached its bound.
	Dropped uint64
}

// MaxSpans bounds the spans of one window.
const MaxSpans = 128

// SpanKind says what was wrong in a Span.
type SpanKind uint8

// Kinds of spans.
const (
	// SpanFailed: consecutive slots (in order of due time) whose outcome failed.
	SpanFailed SpanKind = iota
	// SpanUnsent: consecutive slots that were not sent.
	SpanUnsent
	// SpanStalled: consecutive slots that were answered OK, but only after a
	// stretch in which nothing at all was answered (a hang).
	SpanStalled
)

// Span is a run of consecutive slots of one kind, by due time.
type Span struct {
	Kind SpanKind
	// First and Last are the due times of the first and last slot of the run,
	// in nanoseconds from the run's start.
	First, Last int64
	Count       uint64
}

// Due returns the number of slots that fell due in the window.
func (w *Window) Due() uint64 {
	var n uint64
	for _, c := range w.Counts {
		n += c
	}
	return n
}

// Sent returns the number of requests sent.
func (w *Window) Sent() uint64 { return w.Due() - w.Counts[Unsent] }

// Failed returns the number of requests that were sent and failed.
func (w *Window) Failed() uint64 { return w.Sent() - w.Counts[OK] }

// Request is one failed or slow request, one line of load/<lane>.slow.ndjson.
type Request struct {
	Due       int64  `json:"due"`     // ns since the run's start
	Sent      int64  `json:"sent"`    // ns since the run's start
	Latency   int64  `json:"latency"` // corrected, ns
	Class     string `json:"class"`
	Status    int    `json:"status,omitempty"`
	Reused    bool   `json:"reused"`
	Remote    string `json:"remote,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Node      string `json:"node,omitempty"`
	ConnectNS int64  `json:"connectNS,omitempty"`
	TLSNS     int64  `json:"tlsNS,omitempty"`
	FirstByte int64  `json:"firstByteNS,omitempty"`
	Error     string `json:"error,omitempty"` // first 200 bytes, for a person
	// Agent is the pod that sent it, where agents send the load.
	Agent string `json:"agent,omitempty"`
}

// ProbeSample is one observation, one line of probes/<name>.ndjson.
type ProbeSample struct {
	T     int64  `json:"t"` // start, ns since the run's start
	D     int64  `json:"d"` // duration, ns
	OK    bool   `json:"ok"`
	Class string `json:"class,omitempty"` // as Class, where it fits
	Error string `json:"error,omitempty"`
}

// Held returns for how long, from T on, a failed observation shows for certain
// that nothing answered, in nanoseconds. A refusal shows it of one instant. One
// that waited for its timeout shows it until the request was last sent again:
// TCP doubles the time between retransmissions (RFC 6298, 5.5), so that this was
// in the second half of the wait, and what came back after it went unnoticed.
func (s ProbeSample) Held() int64 {
	if s.OK || s.Class != TimeoutConnect.String() && s.Class != TimeoutResponse.String() {
		return 0
	}
	return s.D / 2
}
