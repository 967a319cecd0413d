package sim

import (
	"context"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

var _ cluster.Attacher = (*Driver)(nil)

// Attach implements cluster.Attacher for a cluster that this very driver made: a
// simulated cluster ends with its process, so that no other process finds it.
func (d *Driver) Attach(_ context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	c, err := d.simulation(&cluster.Cluster{Spec: s})
	if err != nil {
		return nil, fmt.Errorf("the simulated cluster %s ended with the process that made it: rehearse anew", s.Name)
	}
	return c.cluster(), nil
}
