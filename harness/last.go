package harness

import (
	"context"
	"errors"

	"github.com/kube-rehearse/rehearse/harness/step"
)

// The last two entries of every plan are the runner's own work: they run
// whatever happened before, and need what no step may hold. Their types exist
// so that the plan can print them.

// tearDown undoes what the run created.
type tearDown struct{}

func (tearDown) Describe() string { return "Tear down what was created" }

func (tearDown) Run(context.Context, *step.Env) error { return errRunnersOwn }

// judgeRecord closes the record, judges it and writes the reports. It comes
// last, so that verdict and reports can be made again, byte for byte, from the
// record that they were made from.
type judgeRecord struct{}

func (judgeRecord) Describe() string { return "Judge the record and write the reports" }

func (judgeRecord) Run(context.Context, *step.Env) error { return errRunnersOwn }

var errRunnersOwn = errors.New("carried out by the runner itself")
