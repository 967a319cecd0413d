package load

import "github.com/kube-rehearse/rehearse/harness/record"

// Observer sees a load while it is sent, beside the record. Each of its functions
// may be nil, must not block, and may be called from any goroutine.
type Observer struct {
	// Window sees each window of a lane, in order, once its sink has taken it. The
	// goroutine that sends does not wait for it. The window is the sink's: it is
	// read and not kept.
	Window func(lane record.Lane, w *record.Window)
	// Started is given what returns Running.Sums, once, when the load starts. It
	// may be called at any time, after Stop too.
	Started func(sums func() []Sum)
}

// observed is a sink whose windows an observer sees.
type observed struct {
	LaneSink
	lane record.Lane
	see  func(record.Lane, *record.Window)
}

// WriteWindow implements LaneSink.
func (o observed) WriteWindow(w *record.Window) error {
	if err := o.LaneSink.WriteWindow(w); err != nil {
		return err
	}
	o.see(o.lane, w)
	return nil
}

// sink returns s as it is used: where nobody looks, s itself.
func (o Observer) sink(l record.Lane, s LaneSink) LaneSink {
	if o.Window == nil {
		return s
	}
	return observed{s, l, o.Window}
}
