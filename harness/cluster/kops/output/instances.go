package output

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Instance is one entry of "kops get instances -o json".
type Instance struct {
	ID            string `json:"id"`
	NodeName      string `json:"nodeName"`      // empty where it is no node
	Status        string `json:"status"`        // UpToDate, NeedsUpdate or Detached
	InstanceGroup string `json:"instanceGroup"` // as the cloud calls it
}

// Detached is the status of an instance that left its group and still runs.
const Detached = "Detached"

// Group is the name of the instance's group in kops.
func (i Instance) Group() string { return groupName(i.InstanceGroup) }

// ParseInstances reads the list; no instances are no error.
func ParseInstances(b []byte) ([]Instance, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, nil
	}
	var all []Instance
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("what kops get instances printed: %w", err)
	}
	return all, nil
}
