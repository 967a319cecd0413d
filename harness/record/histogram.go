package record

// Histogram counts values in buckets whose width is at most 1/1024 of the
// value, so that a quantile read from it is within 0.1% of the sample's. It is
// sparse: it holds only buckets that were hit. The zero value is empty and
// ready for use. Values are in microseconds unless a field says otherwise.
type Histogram struct {
	buckets []Bucket // in order of Index
	count   uint64
}

// Bucket is one bucket of a Histogram that was hit.
type Bucket struct {
	Index uint32
	Count uint64
}
