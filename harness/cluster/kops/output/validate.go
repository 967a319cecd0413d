package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Validation is one document of "kops validate cluster -o json".
type Validation struct {
	// Failures is empty where the cluster is healthy: kops leaves the key out then.
	Failures []Failure `json:"failures"`
	Nodes    []Node    `json:"nodes"`
}

// Failure is one reason for which a cluster does not pass.
type Failure struct {
	Type    string `json:"type"` // Node, Pod, Machine, InstanceGroup, dns, ...
	Name    string `json:"name"`
	Message string `json:"message"`
	// InstanceGroup is nil for a failure of the whole cluster.
	InstanceGroup *InstanceGroup `json:"instanceGroup"`
}

// InstanceGroup is the part of a kops InstanceGroup that is used.
type InstanceGroup struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Role        string `json:"role"`
		MachineType string `json:"machineType"`
	} `json:"spec"`
}

// Node is a node as kops sees it.
type Node struct {
	Name     string `json:"name"`
	Zone     string `json:"zone"`
	Role     string `json:"role"` // control-plane, node, apiserver, bastion
	Hostname string `json:"hostname"`
	Status   string `json:"status"` // of the condition Ready: True, False or Unknown
}

// ParseValidations reads every document of a stream, oldest first: with --wait
// kops prints one for each attempt, without anything between them. An error
// names the offset of the document at fault and comes with those before it; a
// stream without a document is an error too.
func ParseValidations(r io.Reader) ([]Validation, error) {
	dec := json.NewDecoder(r)
	var all []Validation
	for {
		begun := dec.InputOffset()
		var v *Validation
		err := dec.Decode(&v)
		switch {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return nil, errors.New("kops validate printed no JSON document: it ended before it could look, so read its standard error")
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, fmt.Errorf("kops validate, document %d at byte %d: %w", len(all)+1, begun, err)
		case v == nil:
			return all, fmt.Errorf("kops validate, document %d at byte %d: null instead of an object", len(all)+1, begun)
		}
		all = append(all, *v)
	}
}

// Passed tells whether nothing failed and there are nodes at all: an answer
// without nodes shows that nothing was looked at.
func (v Validation) Passed() bool { return len(v.Failures) == 0 && len(v.Nodes) > 0 }

// BlockedBy names what keeps the cluster from passing, in one line; empty where
// it passed.
func (v Validation) BlockedBy() string {
	var all []string
	for _, f := range v.Failures {
		s := f.Type + " " + f.Name + ": " + f.Message
		if f.InstanceGroup != nil && f.InstanceGroup.Metadata.Name != "" {
			s += " (instance group " + f.InstanceGroup.Metadata.Name + ")"
		}
		all = append(all, s)
	}
	if len(all) == 0 && len(v.Nodes) == 0 {
		return "kops saw no node"
	}
	return strings.Join(all, "; ")
}
